//! Rows of uses of keys.

use super::row::{Columns, Row};
use crate::key::{KeyId, Lookup, OrganizationId, Timestamp};
use crate::last_use::{NetworkUse, ScopeUse, SecretUse};
use crate::store::StoreError;

impl<R: Row> Columns<'_, R> {
    pub(in crate::store) fn secret_use(&mut self) -> Result<SecretUse, StoreError> {
        let lookup = self.parsed("key_use.lookup", |text| Lookup::new(text).map_err(|_| "invalid lookup"))?;
        let key = KeyId::from(self.uuid("key_use.key_id")?);
        let mut used = SecretUse::new(lookup, key, OrganizationId::from(self.uuid("key_use.organization_id")?));
        let at = self.time("key_use.last_used_at")?;
        used.last_used_at = (at > Timestamp::from_millis(0)).then_some(at);
        let invalid = |_| "invalid address";
        used.last_address = self.optional_parsed("key_use.last_address", |text| text.parse().map_err(invalid))?;
        used.requests = self.count("key_use.requests")?;
        Ok(used)
    }

    pub(in crate::store) fn scope_use(&mut self) -> Result<ScopeUse, StoreError> {
        let key = KeyId::from(self.uuid("scope_use.key_id")?);
        let scope = self.parsed("scope_use.scope", |text| text.parse().map_err(|_| "invalid scope"))?;
        Ok(ScopeUse::new(key, scope, self.time("scope_use.last_used_at")?))
    }

    pub(in crate::store) fn network_use(&mut self) -> Result<NetworkUse, StoreError> {
        let key = KeyId::from(self.uuid("key_networks.key_id")?);
        let network = self.text("key_networks.network")?;
        Ok(NetworkUse::new(key, network, self.time("key_networks.first_seen")?))
    }
}
