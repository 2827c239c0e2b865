//! The items of a crate by module, with names resolved.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ImplItem, Item, ItemImpl, Lit, Meta, Token, UseTree, Visibility};

use super::macros;
use crate::files::SourceFile;

/// Longer chains of re-exports are cycles.
const LONGEST_CHAIN: usize = 16;

pub(super) type Path = Vec<String>;
pub(super) type Features = BTreeSet<String>;

pub(super) struct Crate {
    pub(super) items: Vec<Entry>,
    files: BTreeMap<Path, SourceFile>,
    macros: BTreeMap<String, TokenStream>,
}

/// An item, its module, and the features that it needs.
pub(super) struct Entry {
    pub(super) module: Path,
    pub(super) item: Item,
    pub(super) features: Features,
}

/// The meaning of a name: a module, or an item by its index.
enum Target {
    Module(Path),
    Item(usize),
}

/// The items that users can name.
#[derive(Default)]
pub(super) struct Public {
    /// Paths, each with the index of its item.
    pub(super) paths: BTreeMap<String, (usize, Features)>,
    pub(super) modules: BTreeSet<String>,
    /// Re-exports of other crates' items.
    pub(super) foreign: BTreeSet<String>,
}

impl Crate {
    pub(super) fn new(files: Vec<SourceFile>) -> Self {
        let files = files.into_iter().map(|file| (file.module(), file)).collect();
        let mut all = Self {
            items: Vec::new(),
            files,
            macros: BTreeMap::new(),
        };
        for file in all.files.values() {
            for item in parse(file) {
                if let Item::Macro(item) = &item
                    && let Some(name) = &item.ident
                {
                    all.macros.insert(name.to_string(), item.mac.tokens.clone());
                }
            }
        }
        let root = all.files.get(&Vec::new()).map(parse).unwrap_or_default();
        all.load(&[], root, &Features::new());
        all
    }

    fn load(&mut self, module: &[String], items: Vec<Item>, inherited: &Features) {
        for item in items {
            let Some(mut features) = features(attributes(&item)) else {
                continue;
            };
            features.extend(inherited.iter().cloned());
            match &item {
                Item::Macro(call) if call.ident.is_none() => {
                    let tokens = self.expand(&call.mac);
                    let file = syn::parse2::<syn::File>(tokens).expect("what a macro makes is read as items");
                    self.load(module, file.items, &features);
                    continue;
                }
                Item::Mod(inner) => {
                    let path = join(module, &inner.ident.to_string());
                    let items = match &inner.content {
                        Some((_, items)) => items.clone(),
                        None => self.files.get(&path).map(parse).unwrap_or_default(),
                    };
                    self.load(&path, items, &features);
                }
                _ => {}
            }
            let module = module.to_vec();
            self.items.push(Entry { module, item, features });
        }
    }

    /// The items of an implementation, including those that macros make.
    pub(super) fn impl_items(&self, item: &ItemImpl) -> Vec<ImplItem> {
        let items = item.items.iter().flat_map(|item| match item {
            ImplItem::Macro(call) => {
                let mut tokens: TokenStream = "impl X".parse().expect("tokens");
                tokens.extend([TokenTree::from(Group::new(Delimiter::Brace, self.expand(&call.mac)))]);
                syn::parse2::<ItemImpl>(tokens)
                    .expect("what a macro makes is read as methods")
                    .items
            }
            item => vec![item.clone()],
        });
        items.collect()
    }

    fn expand(&self, call: &syn::Macro) -> TokenStream {
        let name = call
            .path
            .segments
            .last()
            .map(|last| last.ident.to_string())
            .unwrap_or_default();
        let expanded = match self.macros.get(&name) {
            Some(rules) => macros::expand(rules.clone(), call.tokens.clone()),
            None if name == "pin_project" => Some(call.tokens.clone()),
            None => None,
        };
        expanded.unwrap_or_else(|| panic!("`{name}!` makes items that cannot be read here: extend `macros::expand`"))
    }

    fn of_module<'a>(&'a self, module: &[String]) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.items
            .iter()
            .enumerate()
            .filter(move |(_, entry)| entry.module == module)
    }

    pub(super) fn public(&self) -> Public {
        let mut public = Public::default();
        self.walk(&[], &[], &Features::new(), LONGEST_CHAIN, &mut public);
        public
    }

    fn walk(&self, module: &[String], path: &[String], inherited: &Features, depth: usize, public: &mut Public) {
        for (index, entry) in self.of_module(module).filter(|_| depth > 0) {
            let features: Features = entry.features.union(inherited).cloned().collect();
            match &entry.item {
                Item::Use(item) if is_public(&item.vis) => {
                    for (target, name) in leaves(&item.tree, Vec::new()) {
                        let found = self.resolve(module, &target, depth);
                        if found.is_empty() {
                            let renamed = name.as_ref().filter(|name| target.last() != Some(name));
                            let renamed = renamed.map(|name| format!(" as {name}")).unwrap_or_default();
                            public.foreign.insert(format!("{}{renamed}", target.join("::")));
                        }
                        let path = name.iter().fold(path.to_vec(), |path, name| join(&path, name));
                        for target in found {
                            self.show(target, &path, &features, depth, public);
                        }
                    }
                }
                Item::Mod(item) if is_public(&item.vis) => {
                    let name = item.ident.to_string();
                    self.show(
                        Target::Module(join(module, &name)),
                        &join(path, &name),
                        &features,
                        depth,
                        public,
                    );
                }
                item => {
                    if let Some((name, _)) = name(item).filter(|(_, vis)| is_public(vis)) {
                        self.show(Target::Item(index), &join(path, &name), &features, depth, public);
                    }
                }
            }
        }
    }

    fn show(&self, target: Target, path: &[String], features: &Features, depth: usize, public: &mut Public) {
        match target {
            Target::Module(module) => {
                if !path.is_empty() {
                    public.modules.insert(path.join("::"));
                }
                self.walk(&module, path, features, depth - 1, public);
            }
            Target::Item(index) => {
                let features = self.items[index].features.union(features).cloned().collect();
                public.paths.insert(path.join("::"), (index, features));
            }
        }
    }

    /// The item of this crate that a path means in this module.
    pub(super) fn item(&self, module: &[String], path: &syn::Path) -> Option<usize> {
        let path: Path = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.resolve(module, &path, LONGEST_CHAIN)
            .into_iter()
            .find_map(|target| match target {
                Target::Item(index) => Some(index),
                Target::Module(_) => None,
            })
    }

    /// A name can mean a module and a function at once. Empty for names of other crates.
    fn resolve(&self, module: &[String], path: &[String], depth: usize) -> Vec<Target> {
        let mut module = module.to_vec();
        for (place, name) in path.iter().enumerate() {
            match name.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => {
                    module.pop();
                }
                name => {
                    let mut found = self.find(&module, name, depth);
                    if place + 1 == path.len() {
                        return found;
                    }
                    let inner = found.iter().position(|target| matches!(target, Target::Module(_)));
                    match inner.map(|inner| found.swap_remove(inner)) {
                        Some(Target::Module(inner)) => module = inner,
                        _ => return found,
                    }
                }
            }
        }
        vec![Target::Module(module)]
    }

    fn find(&self, module: &[String], wanted: &str, depth: usize) -> Vec<Target> {
        let mut found = Vec::new();
        for (index, entry) in self.of_module(module).filter(|_| depth > 0) {
            match &entry.item {
                Item::Mod(item) if item.ident == wanted => found.push(Target::Module(join(module, wanted))),
                Item::Use(item) => {
                    for (path, name) in leaves(&item.tree, Vec::new()) {
                        match name {
                            Some(name) if name == wanted => found.extend(self.resolve(module, &path, depth - 1)),
                            None => {
                                for target in self.resolve(module, &path, depth - 1) {
                                    if let Target::Module(inner) = target
                                        && inner != module
                                    {
                                        found.extend(self.find(&inner, wanted, depth - 1));
                                    }
                                }
                            }
                            Some(_) => {}
                        }
                    }
                }
                item if name(item).is_some_and(|(name, _)| name == wanted) => found.push(Target::Item(index)),
                _ => {}
            }
        }
        found
    }
}

fn parse(file: &SourceFile) -> Vec<Item> {
    let parsed = syn::parse_file(&file.text);
    parsed
        .unwrap_or_else(|error| panic!("src/{}: {error}", file.path))
        .items
}

fn join(path: &[String], name: &str) -> Path {
    path.iter()
        .map(String::as_str)
        .chain([name])
        .map(str::to_owned)
        .collect()
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// The path of an import, and its new name; no name for a glob.
fn leaves(tree: &UseTree, mut path: Path) -> Vec<(Path, Option<String>)> {
    match tree {
        UseTree::Path(part) => {
            path.push(part.ident.to_string());
            leaves(&part.tree, path)
        }
        UseTree::Group(group) => group.items.iter().flat_map(|tree| leaves(tree, path.clone())).collect(),
        UseTree::Glob(_) => vec![(path, None)],
        UseTree::Name(name) if name.ident == "self" => vec![(path.clone(), path.pop())],
        UseTree::Name(name) => vec![(join(&path, &name.ident.to_string()), Some(name.ident.to_string()))],
        UseTree::Rename(name) => vec![(join(&path, &name.ident.to_string()), Some(name.rename.to_string()))],
    }
}

/// The identifier of an item that has one.
fn name(item: &Item) -> Option<(String, &Visibility)> {
    let (name, visibility) = match item {
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Union(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((name.to_string(), visibility))
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// The features that these attributes need. `None` for test code.
pub(super) fn features(attributes: &[Attribute]) -> Option<Features> {
    fn all(list: &syn::MetaList) -> Vec<Option<Features>> {
        let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        inner.expect("a condition").iter().map(of).collect()
    }
    fn of(meta: &Meta) -> Option<Features> {
        match meta {
            Meta::Path(path) => (!path.is_ident("test") && !path.is_ident("doctest")).then(Features::new),
            Meta::NameValue(pair) => match &pair.value {
                Expr::Lit(value) if pair.path.is_ident("feature") => match &value.lit {
                    Lit::Str(name) => Some(Features::from([name.value()])),
                    _ => None,
                },
                _ => Some(Features::new()),
            },
            Meta::List(list) if list.path.is_ident("any") => {
                all(list).into_iter().flatten().reduce(|mut one, other| {
                    one.extend(other);
                    one
                })
            }
            Meta::List(list) if list.path.is_ident("not") => {
                let names = all(list).into_iter().flatten().flatten();
                Some(names.map(|name| format!("not {name}")).collect())
            }
            Meta::List(list) => all(list).into_iter().try_fold(Features::new(), |mut one, other| {
                one.extend(other?);
                Some(one)
            }),
        }
    }
    let conditions = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => Some(list),
        _ => None,
    });
    conditions
        .map(|list| of(&Meta::List(list.clone())))
        .try_fold(Features::new(), |mut one, other| {
            one.extend(other?);
            Some(one)
        })
}
