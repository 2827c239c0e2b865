//! A parsed text, TOML or JSON alike: values that know where they stand.

use std::borrow::Cow;
use std::collections::HashSet;

use super::problem::Fault;

pub(super) struct Value<'t> {
    /// In bytes from the start of the text.
    pub(super) at: usize,
    pub(super) kind: Kind<'t>,
}

pub(super) enum Kind<'t> {
    Text(Cow<'t, str>),
    /// A date and time that is not a text, which TOML has.
    Date(String),
    Number(u64),
    List(Vec<Value<'t>>),
    Table(Vec<Field<'t>>),
    Null,
    /// What no field can be: a truth value, a fraction, a negative number.
    Other,
}

pub(super) struct Field<'t> {
    pub(super) at: usize,
    pub(super) name: Cow<'t, str>,
    pub(super) value: Value<'t>,
}

impl<'t> Value<'t> {
    pub(super) fn fault(&self, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(self.at, text)
    }

    pub(super) fn text(&self) -> Result<&Cow<'t, str>, Fault> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            _ => Err(self.fault("must be a text")),
        }
    }

    pub(super) fn list(&self) -> Result<&[Value<'t>], Fault> {
        match &self.kind {
            Kind::List(values) => Ok(values),
            _ => Err(self.fault("must be a list")),
        }
    }

    pub(super) fn number(&self) -> Result<u32, Fault> {
        match self.kind {
            Kind::Number(number) if u32::try_from(number).is_ok() => Ok(number as u32),
            _ => Err(self.fault(format!("must be a whole number of at most {}", u32::MAX))),
        }
    }

    /// The fields of a table, of which it has no other than these and none twice. A typing error must not be a field that
    /// was left out: without `networks`, a key would be good from anywhere.
    pub(super) fn table<'v>(&'v self, known: &'static [&'static str]) -> Result<Table<'v, 't>, Fault> {
        let fields = self.fields()?;
        for field in fields {
            if !known.contains(&&*field.name) {
                let text = format!("unknown field; the fields here are {}", known.join(", "));
                return Err(Fault::new(field.at, text));
            }
        }
        Ok(Table { at: self.at, fields })
    }

    /// The fields of a table of any names, none twice.
    pub(super) fn fields(&self) -> Result<&[Field<'t>], Fault> {
        let Kind::Table(fields) = &self.kind else {
            return Err(self.fault("must be a table"));
        };
        let mut names = HashSet::new();
        match fields.iter().find(|field| !names.insert(&*field.name)) {
            Some(field) => Err(Fault::new(field.at, "repeated field")),
            None => Ok(fields),
        }
    }
}

/// A table whose fields are known.
pub(super) struct Table<'v, 't> {
    at: usize,
    fields: &'v [Field<'t>],
}

impl<'v, 't> Table<'v, 't> {
    /// A field that may be left out, or be null.
    pub(super) fn get(&self, name: &str) -> Option<&'v Value<'t>> {
        let field = self.fields.iter().find(|field| field.name == name)?;
        (!matches!(field.value.kind, Kind::Null)).then_some(&field.value)
    }

    pub(super) fn need(&self, name: &'static str) -> Result<&'v Value<'t>, Fault> {
        self.get(name).ok_or_else(|| self.fault(format!("`{name}` is missing")))
    }

    pub(super) fn fault(&self, text: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(self.at, text)
    }
}
