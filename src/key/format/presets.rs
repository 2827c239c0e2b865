//! Formats of keys that other systems made, so that these keep working.

use std::sync::Arc;

use super::KeyFormat;
use super::alphabet::Alphabet;
use super::builder::{KeyFormatBuilder, check_some_prefix};
use super::checksum::Checksum;
use super::layout::{Body, Layout};
use crate::error::ConfigError;

/// # Formats of other systems
impl KeyFormat {
    /// `cmpz_` and 32 base62 characters, the first 8 of them the lookup.
    pub fn cmpz() -> Self {
        cmpz().assemble()
    }

    /// `pk_live_` or `pk_test_` and 43 base64url characters (256 bits, as Python's `secrets.token_urlsafe` makes
    /// them), the first 8 of them the lookup.
    pub fn pk() -> Self {
        url_safe("pk").assemble()
    }

    /// As [`pk`](Self::pk), with `hk_live_` and `hk_test_`.
    pub fn hk() -> Self {
        url_safe("hk").assemble()
    }

    /// `gml_<seconds since 1970>_` and 64 hex digits, the first 12 of them the lookup.
    pub fn gml() -> Self {
        gml().assemble()
    }

    /// 64 hex digits and nothing else, the first 12 of them the lookup.
    pub fn bare_hex() -> Self {
        bare_hex().assemble()
    }

    /// `prefix.secret` of djangorestframework-api-key: 8 base62 characters, which are the lookup, and 32.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::django_rest_framework();
    /// assert_eq!(format.parse(b"kYtGbYr2.0123456789ABCDEFGHIJKLMNOPQRSTUV")?.lookup(), "kYtGbYr2");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn django_rest_framework() -> Self {
        django_rest_framework().assemble()
    }

    /// `prefix_short_long` of Seam's prefixed-api-key with its default lengths: the short token of 8 characters is the
    /// lookup; the long one of 24 is the secret. Its base58 characters are all in base62.
    ///
    /// That system hashes the long token alone, and [`SecretHash`](crate::key::SecretHash) covers whole keys: hashes of
    /// its table do not verify here, only keys that were issued here in its format.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::seam("mycompany")?;
    /// let key = format.parse(b"mycompany_BRTRKFsL_51FwqftsmMDHHbJAMEXXHCgG")?;
    /// assert_eq!(key.lookup(), "BRTRKFsL");
    /// assert_eq!(key.secret(), "51FwqftsmMDHHbJAMEXXHCgG");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the prefix is empty or not fit for one, as for [`new`](Self::new).
    pub fn seam(prefix: &str) -> Result<Self, ConfigError> {
        check_some_prefix(prefix)?;
        Ok(seam(prefix).assemble())
    }

    /// `id|secret` of Laravel Sanctum: the row number is the lookup; the secret of 40 characters (48 with its own
    /// checksum, which is not looked at) is base62. For keys that exist: none are made in this format, since row numbers
    /// are counted elsewhere.
    ///
    /// That system hashes the secret alone, and [`SecretHash`](crate::key::SecretHash) covers whole keys: hashes of its
    /// table do not verify here.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::sanctum();
    /// let key = format.parse(b"42|0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd")?;
    /// assert_eq!(key.lookup(), "42");
    /// assert_eq!(key.secret(), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcd");
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    pub fn sanctum() -> Self {
        import_only(Body::Numbered, false)
    }

    /// Any 16 to 256 visible ASCII characters, found by the SHA-256 of the whole key, for stores that were indexed by
    /// hash. For keys that exist: none are made in this format. Among several formats it comes last.
    ///
    /// If the form of such keys is known, [`hashed_lookup`](KeyFormatBuilder::hashed_lookup) refuses others early.
    ///
    /// ```
    /// use tower_api_key::key::KeyFormat;
    ///
    /// let format = KeyFormat::raw();
    /// let key = format.parse(b"correct-horse-battery-staple")?;
    /// assert_eq!(key.lookup().len(), 64);
    /// # Ok::<_, tower_api_key::key::MalformedKey>(())
    /// ```
    ///
    /// # Security
    /// Of such a lookup only the first 8 characters are ever shown or logged.
    pub fn raw() -> Self {
        import_only(Body::Any, true)
    }
}

fn import_only(body: Body, hashed_lookup: bool) -> KeyFormat {
    KeyFormat(Arc::new(Layout {
        prefix: "".into(),
        heads: Layout::heads("", &[]),
        timestamp: false,
        body,
        hashed_lookup,
        checksum: Checksum::None,
    }))
}

fn cmpz() -> KeyFormatBuilder {
    foreign("cmpz").body_length(32).lookup_length(8)
}

fn url_safe(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix)
        .environments(["live", "test"])
        .alphabet(Alphabet::Base64Url)
        .body_length(43)
        .lookup_length(8)
}

fn gml() -> KeyFormatBuilder {
    hex("gml").timestamp()
}

fn bare_hex() -> KeyFormatBuilder {
    hex("")
}

fn hex(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix)
        .alphabet(Alphabet::Hex)
        .body_length(64)
        .lookup_length(12)
}

fn django_rest_framework() -> KeyFormatBuilder {
    foreign("").separator('.').lookup_length(8).body_length(40)
}

fn seam(prefix: &str) -> KeyFormatBuilder {
    foreign(prefix).separator('_').lookup_length(8).body_length(32)
}

fn foreign(prefix: &str) -> KeyFormatBuilder {
    KeyFormatBuilder::new(prefix)
        .without_environments()
        .checksum(Checksum::None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Presets skip the builder's check, since they cannot fail; this is where they are held to it.
    #[test]
    fn presets_have_settings_that_the_builder_accepts() {
        for preset in [
            cmpz(),
            url_safe("pk"),
            url_safe("hk"),
            gml(),
            bare_hex(),
            django_rest_framework(),
            seam("seam"),
        ] {
            assert_eq!(preset.check(), Ok(()), "{preset:?}");
        }
    }
}
