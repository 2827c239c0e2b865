//! Where the paths of a file lead: inside the crate, and to other crates.

use crate::source::Word;

/// A path from the crate's root, as the names it goes through. Empty: the root itself, under another name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LocalPath {
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
}

/// Every path that starts at `crate`, `super` or `self`, use-trees spread out.
///
/// `module` is the file's own place. Inside an inline module `super` stays in the file, but is taken here as leaving
/// it: that may report too much, never too little.
pub(crate) fn local_paths(words: &[Word], module: &[String]) -> Vec<LocalPath> {
    let text = |index: usize| words.get(index).map_or("", |word| word.text.as_str());
    let mut paths = Vec::new();
    let mut index = 0;
    while index < words.len() {
        let is_head = matches!(text(index), "crate" | "super" | "self")
            && (index == 0 || text(index - 1) != "::")
            && (text(index + 1) == "::" || text(index) == "crate" && text(index + 1) == "as");
        if is_head {
            index = follow(words, index, module.to_vec(), &mut paths);
        } else {
            index += 1;
        }
    }
    paths
}

/// Follows the path or use-tree at `index`, and returns the index after it.
fn follow(words: &[Word], mut index: usize, mut names: Vec<String>, paths: &mut Vec<LocalPath>) -> usize {
    let text = |index: usize| words.get(index).map_or("", |word| word.text.as_str());
    let Some(line) = words.get(index).map(|word| word.line) else {
        return index;
    };
    loop {
        match text(index) {
            "crate" => names.clear(),
            "self" => {}
            "super" => {
                names.pop();
            }
            "{" => {
                index += 1;
                while !matches!(text(index), "}" | "") {
                    index = follow(words, index, names.clone(), paths);
                    // `as name` and the comma.
                    while !matches!(text(index), "," | "}" | "") {
                        index += 1;
                    }
                    index += usize::from(text(index) == ",");
                }
                return index + 1;
            }
            name if name == "*" || name.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                names.push(name.to_owned());
            }
            // `::<` of a generic, or the like: the path is over.
            _ => break,
        }
        index += 1;
        if text(index) != "::" {
            break;
        }
        index += 1;
    }
    paths.push(LocalPath { names, line });
    index
}

/// First names of paths, with their lines: `http` of `http::Request`, of `::http::Request` and of `use http;`.
pub(crate) fn heads(words: &[Word]) -> impl Iterator<Item = (&str, usize)> {
    let text = |index: usize| words.get(index).map_or("", |word| word.text.as_str());
    words.iter().enumerate().filter_map(move |(index, word)| {
        let before = |back: usize| index.checked_sub(back).map_or("", text);
        let is_name = |text: &str| text.ends_with(|last: char| last.is_alphanumeric() || last == '_' || last == '>');
        let after_root = before(1) == "::" && !is_name(before(2)) || before(1) == "::" && before(2) == "use";
        let starts = before(1) != "::" || after_root;
        let leads = text(index + 1) == "::" || matches!(before(1), "use" | "crate") && before(1) != "::";
        (starts && leads).then_some((word.text.as_str(), word.line))
    })
}
