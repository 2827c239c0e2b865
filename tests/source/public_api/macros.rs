//! Expands `macro_rules!` that make items.

use std::collections::BTreeMap;

use proc_macro2::{Group, TokenStream, TokenTree};

/// The tokens of a variable: one entry, or one for each round of its repetition.
type Bound = BTreeMap<String, Vec<TokenStream>>;

/// Expands by the first rule. Nested repetitions are not supported.
pub(super) fn expand(rules: TokenStream, input: TokenStream) -> Option<TokenStream> {
    let mut groups = rules.into_iter().filter_map(|tree| match tree {
        TokenTree::Group(group) => Some(group.stream()),
        _ => None,
    });
    let (pattern, body) = (trees(groups.next()?), groups.next()?);
    let (input, mut bound) = (trees(input), Bound::new());
    let end = matched(&pattern, &input, &mut bound)?;
    (end == input.len()).then(|| substitute(body, &bound, None))
}

fn trees(tokens: TokenStream) -> Vec<TokenTree> {
    tokens.into_iter().collect()
}

fn is(tree: Option<&TokenTree>, marks: &str) -> bool {
    matches!(tree, Some(TokenTree::Punct(mark)) if marks.contains(mark.as_char()))
}

/// The separator of a repetition, and the number of tokens of it and the `*`.
fn separator(after: &[TokenTree]) -> (Option<&TokenTree>, usize) {
    if is(after.first(), "*+?") {
        (None, 1)
    } else {
        (after.first(), 2)
    }
}

/// The number of input tokens that this pattern matches.
fn matched(pattern: &[TokenTree], input: &[TokenTree], bound: &mut Bound) -> Option<usize> {
    let (mut at, mut index) = (0, 0);
    while let Some(tree) = pattern.get(index) {
        index += 1;
        match (tree, pattern.get(index)) {
            (_, Some(TokenTree::Group(group))) if is(Some(tree), "$") => {
                let inner = trees(group.stream());
                let (separator, length) = separator(&pattern[index + 1..]);
                index += 1 + length;
                loop {
                    let mut round = bound.clone();
                    let Some(length @ 1..) = matched(&inner, &input[at..], &mut round) else {
                        break;
                    };
                    *bound = round;
                    at += length;
                    match separator {
                        Some(mark) if input.get(at).is_some_and(|tree| tree.to_string() == mark.to_string()) => at += 1,
                        Some(_) => break,
                        None => {}
                    }
                }
            }
            (_, Some(TokenTree::Ident(name))) if is(Some(tree), "$") => {
                // `meta` takes all remaining tokens, because it is alone in its brackets. Everything else takes one token.
                let is_meta = matches!(pattern.get(index + 2), Some(TokenTree::Ident(kind)) if kind == "meta");
                let end = if is_meta { input.len() } else { at + 1 };
                let taken = input.get(at..end)?.iter().cloned().collect();
                bound.entry(name.to_string()).or_default().push(taken);
                (at, index) = (end, index + 3);
            }
            (TokenTree::Group(group), _) => {
                let Some(TokenTree::Group(given)) = input.get(at) else {
                    return None;
                };
                let given = trees(given.stream());
                if matched(&trees(group.stream()), &given, bound)? != given.len() {
                    return None;
                }
                at += 1;
            }
            (tree, _) if input.get(at).is_some_and(|given| given.to_string() == tree.to_string()) => at += 1,
            _ => return None,
        }
    }
    Some(at)
}

fn substitute(body: TokenStream, bound: &Bound, round: Option<usize>) -> TokenStream {
    let body = trees(body);
    let mut made = TokenStream::new();
    let mut index = 0;
    while let Some(tree) = body.get(index) {
        index += 1;
        match (tree, body.get(index)) {
            (_, Some(TokenTree::Group(group))) if is(Some(tree), "$") => {
                let (separator, length) = separator(&body[index + 1..]);
                index += 1 + length;
                for round in 0..rounds(group.stream(), bound) {
                    made.extend(separator.filter(|_| round > 0).cloned());
                    made.extend(substitute(group.stream(), bound, Some(round)));
                }
            }
            (_, Some(TokenTree::Ident(name))) if is(Some(tree), "$") => {
                index += 1;
                let found = bound.get(&name.to_string());
                made.extend(
                    found
                        .and_then(|found| found.get(round.unwrap_or(0)).or(found.first()))
                        .cloned(),
                );
            }
            (TokenTree::Group(group), _) => {
                let mut inner = Group::new(group.delimiter(), substitute(group.stream(), bound, round));
                inner.set_span(group.span());
                made.extend([TokenTree::from(inner)]);
            }
            (tree, _) => made.extend([tree.clone()]),
        }
    }
    made
}

/// The number of rounds: the entries of the variables.
fn rounds(tokens: TokenStream, bound: &Bound) -> usize {
    let of_tree = |tree: TokenTree| match tree {
        TokenTree::Group(group) => rounds(group.stream(), bound),
        TokenTree::Ident(name) => bound.get(&name.to_string()).map_or(0, Vec::len),
        _ => 0,
    };
    tokens.into_iter().map(of_tree).max().unwrap_or(0)
}
