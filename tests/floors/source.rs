//! Rust text taken apart just far enough to judge it: the words of its code, its literals, and what is test code.

use std::collections::BTreeSet;

/// A file's text, taken apart. Comments are in neither list: what they name binds nothing.
pub(crate) struct Source {
    /// Identifiers, `::`, and every other character of the code by itself; test items included.
    pub(crate) all_words: Vec<Word>,
    /// The same without test items.
    pub(crate) words: Vec<Word>,
    /// String literals outside test items.
    pub(crate) literals: Vec<Word>,
    /// Lines outside test items.
    pub(crate) lines: usize,
    /// Modules that are declared here for tests only: `#[cfg(test)] mod name;`.
    pub(crate) test_modules: BTreeSet<String>,
}

/// A piece of text and the line it starts on, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let (code, all_literals) = without_comments_and_literals(text);
        let all_words = words(&code);
        let tests = test_items(&all_words);
        let in_tests = |line: usize| tests.iter().any(|item| item.lines.contains(&line));
        Self {
            words: {
                let kept = |index: &usize| !tests.iter().any(|item| item.words.contains(index));
                (0..all_words.len())
                    .filter(kept)
                    .map(|index| all_words[index].clone())
                    .collect()
            },
            literals: all_literals
                .into_iter()
                .filter(|literal| !in_tests(literal.line))
                .collect(),
            lines: (1..=text.lines().count()).filter(|line| !in_tests(*line)).count(),
            test_modules: tests.iter().filter_map(|item| item.declares.clone()).collect(),
            all_words,
        }
    }
}

/// Blanks comments and literals, so that every line stays where it is, and collects the strings.
fn without_comments_and_literals(text: &str) -> (String, Vec<Word>) {
    let text: Vec<char> = text.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let (mut code, mut literals) = (String::new(), Vec::new());
    let mut line = 1;
    let mut position = 0;
    while position < text.len() {
        let raw_hashes = (at(position) == 'r')
            .then(|| {
                text[position + 1..]
                    .iter()
                    .take_while(|character| **character == '#')
                    .count()
            })
            .filter(|hashes| at(position + 1 + hashes) == '"')
            // The `r` of `br"` and `cr"` starts a raw string too; that of a name such as `var` does not.
            .filter(|_| {
                let before = |back: usize| position.checked_sub(back).map_or('\0', at);
                !is_word(before(1)) || matches!(before(1), 'b' | 'c') && !is_word(before(2))
            });
        let end = if at(position) == '/' && at(position + 1) == '/' {
            (position..text.len())
                .find(|index| at(*index) == '\n')
                .unwrap_or(text.len())
        } else if at(position) == '/' && at(position + 1) == '*' {
            end_of_block_comment(&text, position)
        } else if let Some(hashes) = raw_hashes {
            let start = position + hashes + 2;
            let closes = |index: &usize| at(*index) == '"' && (1..=hashes).all(|offset| at(index + offset) == '#');
            let close = (start..text.len()).find(closes).unwrap_or(text.len());
            literals.push(Word {
                text: text[start..close].iter().collect(),
                line,
            });
            (close + 1 + hashes).min(text.len())
        } else if at(position) == '"' {
            let close = end_of_quoted(&text, position + 1, '"');
            literals.push(Word {
                text: text[position + 1..close].iter().collect(),
                line,
            });
            (close + 1).min(text.len())
        } else if at(position) == '\'' && at(position + 1) == '\\' {
            (end_of_quoted(&text, position + 1, '\'') + 1).min(text.len())
        } else if at(position) == '\'' && at(position + 2) == '\'' {
            position + 3
        } else {
            if at(position) == '\n' {
                line += 1;
            }
            code.push(at(position));
            position += 1;
            continue;
        };
        for character in &text[position..end] {
            if *character == '\n' {
                line += 1;
            }
            code.push(if *character == '\n' { '\n' } else { ' ' });
        }
        position = end;
    }
    (code, literals)
}

/// Block comments nest.
fn end_of_block_comment(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut index = start;
    while index + 1 < text.len() {
        match (text[index], text[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    text.len()
}

fn end_of_quoted(text: &[char], start: usize, quote: char) -> usize {
    let mut index = start;
    while index < text.len() && text[index] != quote {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index.min(text.len())
}

fn words(code: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let identifier = rest.find(|character: char| !(character.is_alphanumeric() || character == '_'));
            let length = match identifier {
                None => rest.len(),
                Some(0) if rest.starts_with("::") => 2,
                Some(0) => first.len_utf8(),
                Some(length) => length,
            };
            words.push(Word {
                text: rest[..length].to_owned(),
                line: index + 1,
            });
            rest = rest[length..].trim_start();
        }
    }
    words
}

struct TestItem {
    words: std::ops::Range<usize>,
    lines: std::ops::RangeInclusive<usize>,
    declares: Option<String>,
}

/// Items under `#[cfg(test)]` or `#[cfg(all(test, …))]`, up to their closing brace or semicolon.
fn test_items(words: &[Word]) -> Vec<TestItem> {
    let is = |index: usize, text: &str| words.get(index).is_some_and(|word| word.text == text);
    let starts = |index: usize, texts: &[&str]| texts.iter().enumerate().all(|(offset, text)| is(index + offset, text));
    let mut items = Vec::new();
    let mut index = 0;
    while index < words.len() {
        let marked = starts(index, &["#", "[", "cfg", "(", "test", ")", "]"])
            || starts(index, &["#", "[", "cfg", "(", "all", "(", "test", ","]);
        if !marked {
            index += 1;
            continue;
        }
        let mut start = index;
        while is(start, "#") {
            start = end_of_group(words, start + 1);
        }
        let end = end_of_item(words, start);
        let last = words[end.clamp(1, words.len()) - 1].line;
        let name = (start..end)
            .find(|at| is(*at, "mod") && is(at + 2, ";"))
            .map(|at| words[at + 1].text.clone());
        items.push(TestItem {
            words: index..end,
            lines: words[index].line..=last,
            declares: name,
        });
        index = end;
    }
    items
}

/// The index after the bracket that closes the one at `open`.
fn end_of_group(words: &[Word], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, word) in words.iter().enumerate().skip(open) {
        match word.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    words.len()
}

fn end_of_item(words: &[Word], start: usize) -> usize {
    let mut index = start;
    while index < words.len() {
        match words[index].text.as_str() {
            ";" => return index + 1,
            "{" => return end_of_group(words, index),
            "(" | "[" => index = end_of_group(words, index),
            // The end of what holds the item: a field or an expression rather than an item.
            "}" => return index,
            _ => index += 1,
        }
    }
    words.len()
}
