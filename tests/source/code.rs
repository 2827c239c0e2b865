//! What the code of one file names, and which part of it is test code.

use proc_macro2::{Delimiter, Ident, Span, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Lit, Meta, Token};

/// The names that a file uses outside of test code, each with its line. Names in comments do not count.
///
/// Macros and all other code are read as tokens, because the grammar inside a macro is unknown.
#[derive(Default)]
pub(crate) struct Code {
    /// Imports, and paths of two names or more. Paths inside the crate start with `crate`, however the file spells them.
    ///
    /// In an inline module, `super` counts as leaving the file. That may report too much, but never too little.
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    pub(crate) literals: Vec<(String, usize)>,
    pub(crate) modules: Vec<(String, usize)>,
    /// Calls of macros, including those in test code.
    pub(crate) macros: Vec<(String, usize)>,
    pub(crate) lines: usize,
    pub(crate) tests: Tests,
    /// `crate` and the file's own module.
    module: Vec<String>,
}

impl Code {
    pub(crate) fn new(text: &str, module: &[String]) -> Self {
        let mut tests = Tests::new(module);
        tests.visit_file(&syn::parse_file(text).expect("Rust"));
        let lines = (1..=text.lines().count()).filter(|line| !tests.has_line(*line)).count();
        let root = ["crate".to_owned()];
        let module = root.iter().chain(module).cloned().collect();
        let mut code = Self {
            lines,
            tests,
            module,
            ..Self::default()
        };
        code.read(text.parse().expect("tokens"), None);
        code
    }

    /// In an import, `prefix` is the path in front of these tokens.
    fn read(&mut self, tokens: TokenStream, prefix: Option<&[String]>) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let is = |index: usize, mark| matches!(trees.get(index), Some(TokenTree::Punct(it)) if it.as_char() == mark);
        let word = |index: usize, word| matches!(trees.get(index), Some(TokenTree::Ident(it)) if it == word);
        if word(0, "doc") && is(1, '=') {
            return;
        }
        let mut index = 0;
        while let Some(tree) = trees.get(index) {
            let before = |text| index > 0 && word(index - 1, text);
            let line = tree.span().start().line;
            let is_test = self.tests.has(tree.span());
            let mut end = index + 1;
            match tree {
                TokenTree::Group(group) => {
                    self.read(group.stream(), before("use").then_some(&[]));
                }
                TokenTree::Literal(literal) if !is_test => match Lit::new(literal.clone()) {
                    Lit::Str(text) => self.literals.push((text.value(), line)),
                    Lit::ByteStr(text) => self
                        .literals
                        .push((String::from_utf8_lossy(&text.value()).into(), line)),
                    _ => {}
                },
                TokenTree::Ident(name) if is(end, '!') => self.macros.push((name.to_string(), line)),
                TokenTree::Ident(name) if is_keyword(name) || prefix.is_some() && before("as") => {}
                TokenTree::Ident(name) if !is_test => {
                    if before("mod") {
                        self.modules.push((name.to_string(), line));
                    }
                    let is_root = *name == "crate" && word(end, "as");
                    let is_import = prefix.is_some() || before("use") || before("crate") || is_root;
                    let mut path = prefix.unwrap_or_default().to_vec();
                    self.follow(&mut path, name);
                    while is(end, ':') && is(end + 1, ':') {
                        match trees.get(end + 2) {
                            Some(TokenTree::Ident(name)) => self.follow(&mut path, name),
                            Some(TokenTree::Punct(star)) if star.as_char() == '*' => path.push("*".to_owned()),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.read(group.stream(), Some(&path));
                                path.clear();
                            }
                            _ => break,
                        }
                        end += 3;
                    }
                    if !path.is_empty() && (is_import || end > index + 1) {
                        self.paths.push((path, line));
                    }
                }
                _ => {}
            }
            index = end;
        }
    }

    /// One name further along a path.
    fn follow(&self, path: &mut Vec<String>, name: &Ident) {
        match name.to_string().as_str() {
            "crate" => *path = vec!["crate".to_owned()],
            "self" if path.is_empty() => path.clone_from(&self.module),
            "self" => {}
            "super" => {
                if path.is_empty() {
                    path.clone_from(&self.module);
                }
                path.truncate((path.len() - 1).max(1));
            }
            name => path.push(name.to_owned()),
        }
    }
}

/// Such as the `use` of `use ::http;`, but not those that a path can start with.
fn is_keyword(name: &Ident) -> bool {
    let name = name.to_string();
    !matches!(name.as_str(), "crate" | "self" | "super" | "Self") && syn::parse_str::<Ident>(&name).is_err()
}

/// The test code of a file: what is under `#[cfg(test)]`.
#[derive(Default)]
pub(crate) struct Tests {
    /// Modules that are test code, inline or in other files.
    pub(crate) modules: Vec<Vec<String>>,
    spans: Vec<Span>,
    module: Vec<String>,
}

impl Tests {
    fn new(module: &[String]) -> Self {
        Self {
            module: module.to_vec(),
            ..Self::default()
        }
    }

    fn has(&self, span: Span) -> bool {
        self.spans
            .iter()
            .any(|tests| tests.byte_range().contains(&span.byte_range().start))
    }

    fn has_line(&self, line: usize) -> bool {
        self.spans
            .iter()
            .any(|tests| (tests.start().line..=tests.end().line).contains(&line))
    }

    /// Records an item as test code if these attributes make it so.
    fn note(&mut self, attributes: &[Attribute], item: Span) -> bool {
        let attribute = attributes.iter().find(|attribute| is_for_tests(attribute));
        self.spans
            .extend(attribute.map(|attribute| attribute.span().join(item).unwrap_or(item)));
        attribute.is_some()
    }
}

macro_rules! note {
    ($($visit:ident $node:ident)*) => {$(
        fn $visit(&mut self, node: &'ast syn::$node) {
            self.note(&node.attrs, node.span());
            visit::$visit(self, node);
        }
    )*};
}

impl<'ast> Visit<'ast> for Tests {
    note! {
        visit_item_const ItemConst visit_item_enum ItemEnum visit_item_extern_crate ItemExternCrate
        visit_item_fn ItemFn visit_item_foreign_mod ItemForeignMod visit_item_impl ItemImpl
        visit_item_macro ItemMacro visit_item_static ItemStatic visit_item_struct ItemStruct
        visit_item_trait ItemTrait visit_item_type ItemType visit_item_union ItemUnion visit_item_use ItemUse
        visit_impl_item_const ImplItemConst visit_impl_item_fn ImplItemFn visit_impl_item_macro ImplItemMacro
        visit_impl_item_type ImplItemType visit_trait_item_const TraitItemConst visit_trait_item_fn TraitItemFn
        visit_trait_item_macro TraitItemMacro visit_trait_item_type TraitItemType visit_field Field
        visit_variant Variant visit_field_value FieldValue visit_arm Arm visit_local Local
        visit_stmt_macro StmtMacro visit_expr_block ExprBlock
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.to_string());
        if self.note(&item.attrs, item.span()) {
            self.modules.push(self.module.clone());
        }
        visit::visit_item_mod(self, item);
        self.module.pop();
    }
}

/// `cfg(test)`, and `cfg(all(.., test, ..))` however deep.
fn is_for_tests(attribute: &Attribute) -> bool {
    fn has_test(list: &syn::MetaList) -> bool {
        let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        inner.is_ok_and(|inner| {
            inner.iter().any(|meta| match meta {
                Meta::List(list) => list.path.is_ident("all") && has_test(list),
                meta => meta.path().is_ident("test"),
            })
        })
    }
    matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg") && has_test(list))
}
