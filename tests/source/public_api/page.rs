//! Writes the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Fields, Generics, ImplItem, Item, ItemImpl, Meta, Path, Signature, Token, TraitItem, Type, Visibility,
};

use super::REWRITE;
use super::crate_items::{Crate, Features, Public, attributes, features};

/// The lines under an item, grouped by `impl` if that says more than the item's name.
type Members = BTreeMap<String, BTreeSet<String>>;

/// Traits implemented for an item, or for a trait the types that implement it.
#[derive(Default)]
struct Implemented {
    traits: BTreeSet<String>,
    elsewhere: BTreeSet<String>,
    members: Members,
}

pub(super) fn write(all: &Crate) -> String {
    let public = all.public();
    let mut shown: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
    for (path, (index, _)) in &public.paths {
        shown.entry(*index).or_default().push(path);
    }
    let mut implemented = implemented(all, &shown);
    let (mut body, mut members) = (String::new(), 0);
    for (path, (index, features)) in &public.paths {
        // The first path, in the order of the page, has all details.
        if shown[index][0] != path {
            continue;
        }
        let of_item = implemented.remove(index).unwrap_or_default();
        let (header, own) = item(&all.items[*index].item);
        let _ = write!(
            body,
            "\n### `{path}`\n\n```rust\n{header}{}\n",
            note(features, &Features::new())
        );
        for other in &shown[index][1..] {
            let _ = writeln!(body, "// also `{other}`");
        }
        if !of_item.traits.is_empty() {
            let traits: Vec<&str> = of_item.traits.iter().map(String::as_str).collect();
            let _ = writeln!(body, "// {}", traits.join(", "));
        }
        for elsewhere in &of_item.elsewhere {
            let _ = writeln!(body, "// {elsewhere}");
        }
        for line in &own {
            let _ = writeln!(body, "{line}");
        }
        for (header, lines) in &of_item.members {
            let indent = if header.is_empty() { "" } else { "    " };
            let _ = write!(body, "{header}{}", if header.is_empty() { "" } else { "\n" });
            for line in lines {
                let _ = writeln!(body, "{indent}{line}");
            }
            members += lines.len();
        }
        members += own.len();
        body += "```\n";
    }
    head(&public, members) + &body
}

fn head(public: &Public, members: usize) -> String {
    let paths = public.paths.len() + public.foreign.len();
    let modules: Vec<String> = public.modules.iter().map(|path| format!("`{path}`")).collect();
    let mut head = format!(
        "# Public API\n\n\
         Made from the source. A test fails when this page is out of date; this rewrites it:\n\n\
         \x20   {REWRITE}\n\n\
         Comments name the features that an item needs, the traits that it implements or derives, and its other paths.\n\n\
         {} public names: {paths} paths to items, and {members} members of these items. Public modules: {}.\n",
        paths + members,
        modules.join(", ")
    );
    if !public.foreign.is_empty() {
        head += "\n```rust\n";
        public
            .foreign
            .iter()
            .for_each(|path| head += &format!("pub use {path}\n"));
        head += "```\n";
    }
    head
}

/// The first line of an item, and its members: fields, variants, items of a trait.
fn item(item: &Item) -> (String, Vec<String>) {
    let generics = |generics: &Generics| {
        let condition = generics
            .where_clause
            .as_ref()
            .map(|clause| format!(" {}", text(clause)));
        (text(generics), condition.unwrap_or_default())
    };
    let (header, members) = match item {
        Item::Const(item) => (format!("pub const {}: {}", item.ident, text(&item.ty)), Vec::new()),
        Item::Static(item) => (format!("pub static {}: {}", item.ident, text(&item.ty)), Vec::new()),
        Item::Fn(item) => (format!("pub {}", signature(&item.sig)), Vec::new()),
        Item::Type(item) => {
            let (parameters, _) = generics(&item.generics);
            (
                format!("pub type {}{parameters} = {}", item.ident, text(&item.ty)),
                Vec::new(),
            )
        }
        Item::Struct(item) => {
            let (parameters, condition) = generics(&item.generics);
            (
                format!("pub struct {}{parameters}{condition}", item.ident),
                fields(&item.fields),
            )
        }
        Item::Enum(item) => {
            let (parameters, condition) = generics(&item.generics);
            let variants = item.variants.iter().filter_map(|variant| {
                let needed = features(&variant.attrs)?;
                let fields = match &variant.fields {
                    Fields::Named(fields) => format!(" {}", text(fields)),
                    Fields::Unnamed(fields) => text(fields),
                    Fields::Unit => String::new(),
                };
                Some(format!("{}{fields}{}", variant.ident, note(&needed, &Features::new())))
            });
            (
                format!("pub enum {}{parameters}{condition}", item.ident),
                variants.collect(),
            )
        }
        Item::Trait(item) => {
            let (parameters, condition) = generics(&item.generics);
            let above = if item.supertraits.is_empty() {
                String::new()
            } else {
                format!(": {}", text(&item.supertraits))
            };
            let header = format!("pub trait {}{parameters}{above}{condition}", item.ident);
            (header, item.items.iter().filter_map(trait_item).collect())
        }
        other => panic!("how to show `{}` is not known: extend `page::item`", text(other)),
    };
    let is_open = attributes(item)
        .iter()
        .any(|attribute| attribute.path().is_ident("non_exhaustive"));
    (header + if is_open { " // non-exhaustive" } else { "" }, members)
}

fn fields(fields: &Fields) -> Vec<String> {
    let public = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| matches!(field.vis, Visibility::Public(_)));
    let lines = public.filter_map(|(place, field)| {
        let needed = note(&features(&field.attrs)?, &Features::new());
        let name = field
            .ident
            .as_ref()
            .map_or_else(|| place.to_string(), ToString::to_string);
        Some(format!("pub {name}: {}{needed}", text(&field.ty)))
    });
    lines.collect()
}

fn trait_item(item: &TraitItem) -> Option<String> {
    let (line, is_provided, attributes) = match item {
        TraitItem::Fn(item) => (signature(&item.sig), item.default.is_some(), &item.attrs),
        TraitItem::Const(item) => (
            format!("const {}: {}", item.ident, text(&item.ty)),
            item.default.is_some(),
            &item.attrs,
        ),
        TraitItem::Type(item) => {
            let bounds = if item.bounds.is_empty() {
                String::new()
            } else {
                format!(": {}", text(&item.bounds))
            };
            (
                format!("type {}{}{bounds}", item.ident, text(&item.generics)),
                item.default.is_some(),
                &item.attrs,
            )
        }
        other => panic!("how to show `{}` is not known: extend `page::trait_item`", text(other)),
    };
    let needed = note(&features(attributes)?, &Features::new());
    Some(line + &needed + if is_provided { " // provided" } else { "" })
}

/// The members of every public item.
fn implemented(all: &Crate, shown: &BTreeMap<usize, Vec<&str>>) -> BTreeMap<usize, Implemented> {
    let mut implemented = BTreeMap::<usize, Implemented>::new();
    for (index, entry) in all
        .items
        .iter()
        .enumerate()
        .filter(|(index, _)| shown.contains_key(index))
    {
        let derived = attributes(&entry.item).iter().filter_map(derived);
        implemented.entry(index).or_default().traits.extend(derived.flatten());
    }
    for entry in &all.items {
        let Item::Impl(item) = &entry.item else { continue };
        let local = |path: &Path| all.item(&entry.module, path);
        let own = match &*item.self_ty {
            Type::Path(path) => local(&path.path),
            _ => None,
        };
        let Some((path, _)) = &item.trait_ else {
            if let Some(own) = own.filter(|own| shown.contains_key(own)) {
                let known = &all.items[own].features;
                let lines = all
                    .impl_items(item)
                    .into_iter()
                    .filter_map(|item| member(&item, &entry.features, known));
                let lines: Vec<String> = lines.collect();
                if !lines.is_empty() {
                    implemented
                        .entry(own)
                        .or_default()
                        .members
                        .entry(impl_header(item))
                        .or_default()
                        .extend(lines);
                }
            }
            continue;
        };
        // Items that users cannot name are not shown: a private trait, or `From<Private>`.
        let of_crate = local(path);
        let named: Vec<usize> = types_in(path).iter().filter_map(&local).collect();
        if of_crate.iter().chain(&named).any(|index| !shown.contains_key(index)) {
            continue;
        }
        let last = path.segments.last().map(text).unwrap_or_default();
        match own {
            Some(own) if shown.contains_key(&own) => {
                let needed = note(&entry.features, &all.items[own].features).replace(" // ", " if ");
                implemented.entry(own).or_default().traits.insert(last + &needed);
            }
            Some(_) => {}
            None => {
                let line = format!(
                    "`{}`: {last}{}",
                    text(&item.self_ty),
                    note(&entry.features, &Features::new())
                );
                let at = of_crate.or(named.first().copied());
                if let Some(at) = at {
                    implemented.entry(at).or_default().elsewhere.insert(line);
                }
            }
        }
    }
    implemented
}

fn derived(attribute: &Attribute) -> Option<Vec<String>> {
    let Meta::List(list) = &attribute.meta else { return None };
    if list.path.is_ident("derive") {
        let paths = list
            .parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)
            .expect("traits");
        return Some(paths.iter().filter_map(|path| path.segments.last().map(text)).collect());
    }
    // `cfg_attr(feature = "..", derive(..))`.
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    let parts = parts.ok().filter(|_| list.path.is_ident("cfg_attr"))?;
    let condition = text(parts.first()?).replace("feature = ", "").replace('"', "");
    let inner = parts.iter().skip(1).filter_map(|part| match part {
        Meta::List(list) if list.path.is_ident("derive") => list
            .parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)
            .ok(),
        _ => None,
    });
    let names = inner.flatten().filter_map(|path| path.segments.last().map(text));
    Some(names.map(|name| format!("{name} if {condition}")).collect())
}

/// The type arguments of a trait: `A` of `From<A>`.
fn types_in(path: &Path) -> Vec<Path> {
    struct Types(Vec<Path>);
    impl<'ast> syn::visit::Visit<'ast> for Types {
        fn visit_path(&mut self, path: &'ast Path) {
            self.0.push(path.clone());
            syn::visit::visit_path(self, path);
        }
    }
    let mut types = Types(Vec::new());
    syn::visit::visit_path(&mut types, path);
    types.0
}

fn member(item: &ImplItem, around: &Features, known: &Features) -> Option<String> {
    let (line, visibility, attributes) = match item {
        ImplItem::Fn(item) => (signature(&item.sig), &item.vis, &item.attrs),
        ImplItem::Const(item) => (
            format!("const {}: {}", item.ident, text(&item.ty)),
            &item.vis,
            &item.attrs,
        ),
        _ => return None,
    };
    let needed: Features = features(attributes)?.union(around).cloned().collect();
    matches!(visibility, Visibility::Public(_)).then(|| format!("pub {line}{}", note(&needed, known)))
}

/// Empty if it says no more than the type's name.
fn impl_header(item: &ItemImpl) -> String {
    let has_arguments = matches!(&*item.self_ty, Type::Path(path) if path.path.segments.iter().any(|segment| !segment.arguments.is_empty()));
    if item.generics.params.is_empty() && !has_arguments {
        return String::new();
    }
    let condition = item
        .generics
        .where_clause
        .as_ref()
        .map(|clause| format!(" {}", text(clause)));
    format!(
        "impl{} {}{}",
        text(&item.generics),
        text(&item.self_ty),
        condition.unwrap_or_default()
    )
}

/// The signature without patterns that matter only in the body.
fn signature(signature: &Signature) -> String {
    text(signature).replace("(mut self", "(self")
}

/// Needed features that are not shown yet.
fn note(needed: &Features, known: &Features) -> String {
    let names: Vec<&str> = needed.difference(known).map(String::as_str).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" // {}", names.join(", "))
    }
}

/// The text of the source on one line, as rustfmt would write it if the line were long enough.
fn text(node: &impl Spanned) -> String {
    let source = node.span().source_text().unwrap_or_default();
    let lines = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.starts_with("#["));
    let words: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
    let mut line = words.join(" ");
    for (from, to) in [
        ("( ", "("),
        (", )", ")"),
        (" )", ")"),
        ("< ", "<"),
        (", >", ">"),
        (", }", " }"),
    ] {
        line = line.replace(from, to);
    }
    line.trim_end_matches(',').to_owned()
}
