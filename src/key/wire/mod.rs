//! The wire form of ids, scopes, limits and the other parts of records (feature `serde`).
//!
//! Names are snake_case, times are RFC 3339, sets are lists of strings, windows are seconds. Reading makes the same checks as
//! parsing. An unknown field is an error, because it may be one that makes a key or a limit stricter. A missing field is an
//! error too: a value that does not apply is `null`, so a truncated form never means "never" or "everywhere". Of a limit,
//! only the burst and the cost may be left out: they are then the limit itself and 1.
//!
//! The errors show nothing of the text that was read. Keys, hashes and types with them have no wire form.

mod records;
mod redacting;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ipnet::IpNet;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::ParseError;
use crate::key::network::parse_one;
use crate::key::{
    Actor, Features, Holds, KeyId, KeyStatus, Labels, LimitNames, Lookup, Metadata, Networks, OrganizationId,
    OrganizationStatus, PlanId, RateLimit, RoleNames, Scope, ScopeSet, Timestamp, UserId, UserStatus,
};

/// A value whose wire form is a string.
trait Text: Sized {
    const EXPECTED: &str;

    fn read(text: &str) -> Result<Self, ParseError>;
}

macro_rules! parsed {
    ($($name:ident, $expected:literal;)*) => {$(
        impl Text for $name {
            const EXPECTED: &str = $expected;

            fn read(text: &str) -> Result<Self, ParseError> {
                text.parse()
            }
        }
    )*};
}

macro_rules! read_as_text {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(PhantomData))
            }
        }
    )*};
}

macro_rules! written_as_text {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

written_as_text! { KeyId OrganizationId PlanId UserId Scope Actor }

/// An error for a time outside of the years 0000 to 9999, which would be read back as another.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.has_text() {
            return Err(serde::ser::Error::custom(format_args!(
                "a timestamp must be in the years 0000 to 9999, got {} ms since 1970",
                self.as_millis()
            )));
        }
        serializer.collect_str(self)
    }
}

read_as_text! {
    KeyId OrganizationId PlanId UserId Scope Timestamp Actor Lookup Network KeyStatus OrganizationStatus UserStatus
}

parsed! {
    KeyId, "the UUID of a key";
    OrganizationId, "the UUID of an organization";
    PlanId, "the UUID of a plan";
    UserId, "a user id";
    Scope, "a scope";
    Timestamp, "an RFC 3339 date and time";
    Actor, "an actor as `kind:id`";
    Lookup, "a lookup";
}

struct Network(IpNet);

impl Text for Network {
    const EXPECTED: &str = "a network";

    fn read(text: &str) -> Result<Self, ParseError> {
        parse_one(text).map(Self)
    }
}

impl Text for KeyStatus {
    const EXPECTED: &str = "the status of a key";

    fn read(text: &str) -> Result<Self, ParseError> {
        let mut all = [Self::Active, Self::Disabled, Self::Revoked].into_iter();
        let found = all.find(|status| status.as_str() == text);
        found.ok_or_else(|| ParseError::new("key status", "must be active, disabled or revoked"))
    }
}

impl Text for OrganizationStatus {
    const EXPECTED: &str = "the status of an organization";

    fn read(text: &str) -> Result<Self, ParseError> {
        let mut all = [Self::Active, Self::Inactive].into_iter();
        let found = all.find(|status| status.as_str() == text);
        found.ok_or_else(|| ParseError::new("organization status", "must be active or inactive"))
    }
}

impl Text for UserStatus {
    const EXPECTED: &str = "the status of a user";

    fn read(text: &str) -> Result<Self, ParseError> {
        let mut all = [Self::Active, Self::Disabled].into_iter();
        let found = all.find(|status| status.as_str() == text);
        found.ok_or_else(|| ParseError::new("user status", "must be active or disabled"))
    }
}

macro_rules! written_as_name {
    ($($name:ident)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}

written_as_name! { KeyStatus OrganizationStatus UserStatus }

/// The whole lookup, even if `Display` shows only its start.
impl Serialize for Lookup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: Text> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(E::custom)
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scopes: Vec<Scope> = list(deserializer, "scopes")?;
        Self::new(scopes).map_err(D::Error::custom)
    }
}

macro_rules! set_of_names {
    ($($name:ident, $what:literal;)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(self.iter())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let names: Vec<String> = list(deserializer, $what)?;
                Self::new(names.iter().map(|name| &**name)).map_err(D::Error::custom)
            }
        }
    )*};
}

set_of_names! {
    RoleNames, "roles";
    Labels, "labels";
    Features, "features";
    LimitNames, "names of limits";
    Holds, "holds";
}

impl Serialize for Networks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(IpNet::to_string))
    }
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let networks: Vec<Network> = list(deserializer, "networks")?;
        Self::new(networks.into_iter().map(|network| network.0)).map_err(D::Error::custom)
    }
}

fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    what: &'static str,
) -> Result<Vec<T>, D::Error> {
    redacting::read(deserializer, |deserializer| {
        deserializer.deserialize_seq(ListVisitor(what, PhantomData))
    })
}

/// A list of at most [`LONGEST_LIST`] elements, so that a document cannot use more memory.
struct ListVisitor<T>(&'static str, PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {}", self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element()? {
            if elements.len() == LONGEST_LIST {
                return Err(A::Error::custom(format_args!(
                    "{} must be at most {LONGEST_LIST}",
                    self.0
                )));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        redacting::read(deserializer, |deserializer| {
            deserializer.deserialize_map(MetadataVisitor)
        })
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("names with texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Metadata, A::Error> {
        let mut metadata = Metadata::default();
        while let Some((name, value)) = entries.next_entry::<String, String>()? {
            if metadata.get(&name).is_some() {
                return Err(A::Error::custom("metadata must not have two entries of one name"));
            }
            metadata.set(&name, &value).map_err(A::Error::custom)?;
        }
        Ok(metadata)
    }
}

/// For `Option` fields: `null` is `None`, and a missing field is an error, unlike serde's default.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// A life of keys: whole milliseconds, or `null`.
pub(super) fn write_life<S: Serializer>(life: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = life.map(|life| u64::try_from(life.as_millis()).map_err(serde::ser::Error::custom));
    millis.transpose()?.serialize(serializer)
}

/// A missing field is an error.
pub(super) fn read_life<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
}

/// The limits of one key or organization: a list of bounded length, in which each name is unique.
pub(super) fn limits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RateLimit>, D::Error> {
    let limits: Vec<RateLimit> = list(deserializer, "limits")?;
    for (index, limit) in limits.iter().enumerate() {
        if let Some(first) = limits.iter().take(index).position(|other| other.name() == limit.name()) {
            return Err(D::Error::custom(format_args!(
                "names of limits must be unique, got entries {} and {} of one name",
                first + 1,
                index + 1
            )));
        }
    }
    Ok(limits)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimitForm {
    name: String,
    limit: u32,
    /// Seconds.
    per: u64,
    /// The limit when it is missing.
    burst: Option<u32>,
    /// Left out when it is 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<u32>,
}

impl Serialize for RateLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cost = self.cost_per_request().get();
        let form = RateLimitForm {
            name: self.name().to_owned(),
            limit: self.limit().get(),
            per: self.per().as_secs(),
            burst: Some(self.burst_size().get()),
            cost: (cost != 1).then_some(cost),
        };
        form.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let form = redacting::read(deserializer, RateLimitForm::deserialize)?;
        RateLimit::new(&form.name, form.limit, Duration::from_secs(form.per))
            .and_then(|limit| limit.burst(form.burst.unwrap_or(form.limit)))
            .and_then(|limit| limit.cost(form.cost.unwrap_or(1)))
            .map_err(D::Error::custom)
    }
}

/// The most elements of a set of scopes or networks. There are far fewer limits.
const LONGEST_LIST: usize = 256;
