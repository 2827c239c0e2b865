//! Reading with errors that show nothing of the text that was read.
//!
//! serde's own errors show it, as in `invalid type: string "…"` and in "unknown field", and the text may be a key that was put
//! into the wrong place.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, Expected, MapAccess, SeqAccess, Unexpected, Visitor};

/// Wraps a deserializer, or a part of one.
pub(super) struct Redacting<T>(T);

/// The error of a [`Redacting`] deserializer.
#[derive(Debug)]
pub(super) struct RedactedError<E>(E);

struct RedactingVisitor<'a, V> {
    visitor: V,
    /// Set when the visitor has been given the value. An error before that is the format's own.
    is_called: &'a Cell<bool>,
}

/// Reads a value from this deserializer. Errors show nothing of the text.
pub(super) fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: impl FnOnce(Redacting<D>) -> Result<T, RedactedError<D::Error>>,
) -> Result<T, D::Error> {
    read(Redacting(deserializer)).map_err(|error| error.0)
}

/// Lets a format call a visitor. An error that the format made before that is of the value's type or of the syntax; the former
/// shows the value in quotes.
fn called<'de, V: Visitor<'de>, E: Error>(
    visitor: V,
    call: impl FnOnce(RedactingVisitor<'_, V>) -> Result<V::Value, E>,
) -> Result<V::Value, RedactedError<E>> {
    let expected = Expectation(&visitor).to_string();
    let is_called = &Cell::new(false);
    call(RedactingVisitor { visitor, is_called }).map_err(|error| {
        if is_called.get() || !error.to_string().contains(['"', '\'']) {
            RedactedError(error)
        } else {
            RedactedError(E::custom(format_args!("invalid type, expected {expected}")))
        }
    })
}

/// What a visitor expects, in words.
struct Expectation<'a, V>(&'a V);

impl<'de, V: Visitor<'de>> fmt::Display for Expectation<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }
}

macro_rules! redacted {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            called(visitor, |visitor| self.0.$method(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Redacting<D> {
    type Error = RedactedError<D::Error>;

    redacted! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq
        deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| self.0.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| self.0.deserialize_enum(name, variants, visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| self.0.deserialize_unit_struct(name, visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| self.0.deserialize_newtype_struct(name, visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| self.0.deserialize_tuple(length, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        called(visitor, |visitor| {
            self.0.deserialize_tuple_struct(name, length, visitor)
        })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visited {
    ($($method:ident $kind:ident)*) => {$(
        fn $method<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.visited(|visitor| visitor.$method(value))
        }
    )*};
}

impl<V> RedactingVisitor<'_, V> {
    fn visited<T, E>(self, visit: impl FnOnce(V) -> Result<T, RedactedError<E>>) -> Result<T, E> {
        self.is_called.set(true);
        visit(self.visitor).map_err(|error| error.0)
    }
}

// The visitors of records take no enums and no newtypes, and methods that are missing here call one of these.
impl<'de, V: Visitor<'de>> Visitor<'de> for RedactingVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visited! { visit_bool bool visit_i64 i64 visit_u64 u64 visit_f64 f64 visit_string String }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.visited(|visitor| visitor.visit_str(value))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<V::Value, E> {
        self.visited(|visitor| visitor.visit_bytes(value))
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visited(V::visit_none)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visited(V::visit_unit)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visited(|visitor| visitor.visit_some(Redacting(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        self.visited(|visitor| visitor.visit_seq(Redacting(sequence)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.visited(|visitor| visitor.visit_map(Redacting(map)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Redacting<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        read(deserializer, |deserializer| self.0.deserialize(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Redacting<A> {
    type Error = RedactedError<A::Error>;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        self.0.next_element_seed(Redacting(seed)).map_err(RedactedError)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Redacting<A> {
    type Error = RedactedError<A::Error>;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        self.0.next_key_seed(Redacting(seed)).map_err(RedactedError)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Self::Error> {
        self.0.next_value_seed(Redacting(seed)).map_err(RedactedError)
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<E: Error> Error for RedactedError<E> {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(E::custom(message))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(E::invalid_type(without_text(unexpected), expected))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(E::invalid_value(without_text(unexpected), expected))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self(E::invalid_length(length, expected))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("unknown variant, expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("unknown field, expected one of {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self(E::missing_field(field))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self(E::duplicate_field(field))
    }
}

fn without_text(unexpected: Unexpected<'_>) -> Unexpected<'_> {
    match unexpected {
        Unexpected::Str(_) => Unexpected::Other("string"),
        Unexpected::Char(_) => Unexpected::Other("character"),
        other => other,
    }
}

impl<E: fmt::Display> fmt::Display for RedactedError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> std::error::Error for RedactedError<E> {}
