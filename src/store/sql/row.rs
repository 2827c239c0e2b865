//! Rows as records.

use uuid::Uuid;

use super::column;
use super::fault::InvalidColumn;
use super::follower::{LogRow, Place};
use super::statement::{PLAN, count};
use crate::audit::{
    AuditChain, AuditEntry, AuditHead, AuditRow, PersonalPart, PersonalRow, RefusalCount, RefusalSample,
};
use crate::fence::Change;
use crate::key::{
    Actor, KeyId, KeyRecord, KeySecret, KnownScope, Lookup, Organization, OrganizationId, Plan, PlanId, Realm, RealmId,
    Revocation, Role, ScopeSet, SecretHash, SecretPurpose, SecretValue, ServerSecretRecord, Subject, Timestamp, User,
};
use crate::store::StoreError;
use crate::store::query::LoggedChange;

/// A row as a database's driver gives it. `None` is NULL.
pub(in crate::store) trait Row {
    fn uuid(&self, index: usize) -> Result<Option<Uuid>, Mistyped>;
    fn integer(&self, index: usize) -> Result<Option<i64>, Mistyped>;
    fn text(&self, index: usize) -> Result<Option<String>, Mistyped>;
    fn bytes(&self, index: usize) -> Result<Option<Vec<u8>>, Mistyped>;
}

/// A column has a value of another type. The driver's own error would quote the value, so it goes no further.
pub(in crate::store) struct Mistyped;

/// Reads columns from left to right, in the order of the lists in `statement`.
pub(in crate::store) struct Columns<'r, R> {
    row: &'r R,
    next: usize,
}

impl<'r, R: Row> Columns<'r, R> {
    pub(in crate::store) fn of(row: &'r R) -> Self {
        Self { row, next: 0 }
    }

    pub(in crate::store) fn key(&mut self) -> Result<KeyRecord, StoreError> {
        let id = KeyId::from(self.uuid("keys.id")?);
        let organization = OrganizationId::from(self.uuid("keys.organization_id")?);
        let revision = self.count("keys.revision")?;
        let user = self.optional_parsed("keys.user_id", |text| text.parse().map_err(|_| "invalid user id"))?;
        let name = self.text("keys.name")?;
        self.skip();
        let prefix = self.text("keys.prefix")?;
        let environment = self.optional_text("keys.environment")?;
        let scopes = self.parsed("keys.scopes", column::read_scopes)?;
        let networks = self.parsed("keys.networks", column::read_networks)?;
        let limits = self.parsed("keys.limits", column::read_limits)?;
        let metadata = self.parsed("keys.metadata", column::read_metadata)?;
        let status = self.parsed("keys.status", column::read_key_status)?;
        let revocation = self.revocation()?;
        let created_at = self.time("keys.created_at")?;
        let created_by = self.parsed("keys.created_by", read_actor)?;
        let expires_at = self.optional_time("keys.expires_at")?;
        let mut record = KeyRecord::new(organization, name, created_at);
        record.id = id;
        record.user = user;
        record.prefix = prefix;
        record.environment = environment;
        record.scopes = scopes;
        record.networks = networks;
        record.limits = limits;
        record.metadata = metadata;
        record.status = status;
        record.revocation = revocation;
        record.created_by = created_by;
        record.expires_at = expires_at;
        record.revision = revision;
        record.ends_with_user = self.truth("keys.ends_with_user")?;
        record.labels = self.parsed("keys.labels", column::read_labels)?;
        record.roles = self.parsed("keys.roles", column::read_roles)?;
        record.lifted_limits = self.parsed("keys.lifted_limits", column::read_limit_names)?;
        record.created_by_key = self.take("keys.created_by_key", R::uuid)?.map(KeyId::from);
        record.is_canary = self.truth("keys.canary")?;
        record.requires = self.parsed("keys.requires", column::read_features)?;
        Ok(record)
    }

    fn revocation(&mut self) -> Result<Option<Revocation>, StoreError> {
        let at = self.optional_time("keys.status_at")?;
        let reason = self.optional_text("keys.status_reason")?;
        let actor = self.optional_parsed("keys.status_actor", read_actor)?;
        match (at, reason, actor) {
            (None, None, None) => Ok(None),
            (Some(at), Some(reason), Some(actor)) => Ok(Some(Revocation::new(at, reason, actor))),
            _ => Err(invalid("keys.status_at", "time, reason and actor must be set together")),
        }
    }

    pub(in crate::store) fn secret(&mut self) -> Result<KeySecret, StoreError> {
        let lookup = self.parsed("key_secrets.lookup", |text| {
            Lookup::new(text).map_err(|_| "invalid lookup")
        })?;
        self.skip();
        let hash = self.parsed("key_secrets.hash", |text| {
            SecretHash::new(text).map_err(|_| "invalid hash")
        })?;
        let form = self.parsed("key_secrets.form", column::read_form)?;
        let created_at = self.time("key_secrets.created_at")?;
        let mut secret = KeySecret::new(lookup, hash, created_at);
        secret.form = form;
        secret.expires_at = self.optional_time("key_secrets.expires_at")?;
        secret.grace_ends_at = self.optional_time("key_secrets.grace_ends_at")?;
        secret.hint = self.optional_text("key_secrets.hint")?;
        Ok(secret)
    }

    pub(in crate::store) fn organization(&mut self) -> Result<Organization, StoreError> {
        let id = OrganizationId::from(self.uuid("organizations.id")?);
        let revision = self.count("organizations.revision")?;
        let slug = self.text("organizations.slug")?;
        let mut organization = Organization::new(self.text("organizations.name")?);
        self.skip();
        (organization.id, organization.revision, organization.slug) = (id, revision, slug);
        organization.status = self.parsed("organizations.status", column::read_organization_status)?;
        organization.limits = self.parsed("organizations.limits", column::read_limits)?;
        organization.email = self.optional_text("organizations.email")?;
        self.skip();
        organization.plan = self.take("organizations.plan_id", R::uuid)?.map(PlanId::from);
        organization.is_operator = self.truth("organizations.is_operator")?;
        organization.requires = self.parsed("organizations.requires", column::read_features)?;
        organization.lifted_limits = self.parsed("organizations.lifted_limits", column::read_limit_names)?;
        organization.key_limits = self.parsed("organizations.key_limits", column::read_limits)?;
        organization.lifted_key_limits = self.parsed("organizations.lifted_key_limits", column::read_limit_names)?;
        organization.max_keys = self.optional_number("organizations.max_keys")?;
        organization.policy = self.parsed("organizations.policy", column::read_policy)?;
        organization.metadata = self.parsed("organizations.metadata", column::read_metadata)?;
        organization.created_at = self.time("organizations.created_at")?;
        Ok(organization)
    }

    /// The scopes of all roles of a key.
    pub(in crate::store) fn role_scopes(&mut self) -> Result<ScopeSet, StoreError> {
        let scopes = self.optional_parsed("roles.scopes", column::read_role_scopes)?;
        Ok(scopes.unwrap_or_default())
    }

    /// A plan, if one was joined.
    pub(in crate::store) fn optional_plan(&mut self) -> Result<Option<Plan>, StoreError> {
        if self.is_next_set() {
            return self.plan().map(Some);
        }
        self.next += count(PLAN);
        Ok(None)
    }

    /// A user, if one was joined.
    pub(in crate::store) fn optional_user(&mut self) -> Result<Option<User>, StoreError> {
        self.is_next_set().then(|| self.user()).transpose()
    }

    pub(in crate::store) fn plan(&mut self) -> Result<Plan, StoreError> {
        let id = PlanId::from(self.uuid("plans.id")?);
        let revision = self.count("plans.revision")?;
        let mut plan = Plan::new(self.text("plans.name")?);
        (plan.id, plan.revision) = (id, revision);
        plan.key_limits = self.parsed("plans.key_limits", column::read_limits)?;
        plan.limits = self.parsed("plans.limits", column::read_limits)?;
        plan.max_keys = self.optional_number("plans.max_keys")?;
        Ok(plan)
    }

    pub(in crate::store) fn user(&mut self) -> Result<User, StoreError> {
        let organization = OrganizationId::from(self.uuid("users.organization_id")?);
        let id = self.parsed("users.user_id", |text| text.parse().map_err(|_| "invalid user id"))?;
        let revision = self.count("users.revision")?;
        let name = self.optional_text("users.display_name")?;
        let email = self.optional_text("users.email")?;
        let metadata = self.parsed("users.metadata", column::read_metadata)?;
        let status = self.parsed("users.status", column::read_user_status)?;
        let reason = self.text("users.reason")?;
        let actor = self.parsed("users.actor", read_actor)?;
        let mut user = User::new(organization, id, self.time("users.changed_at")?);
        (user.name, user.email, user.metadata) = (name, email, metadata);
        (user.status, user.reason, user.actor) = (status, reason, actor);
        user.revision = revision;
        Ok(user)
    }

    pub(in crate::store) fn role(&mut self) -> Result<Role, StoreError> {
        let name = self.text("roles.name")?;
        let revision = self.count("roles.revision")?;
        let mut role = Role::new(name, self.parsed("roles.scopes", column::read_scopes)?);
        role.description = self.text("roles.description")?;
        role.revision = revision;
        Ok(role)
    }

    pub(in crate::store) fn known_scope(&mut self) -> Result<KnownScope, StoreError> {
        let scope = self.parsed("scopes.scope", |text| text.parse().map_err(|_| "invalid scope"))?;
        Ok(KnownScope::new(scope, self.text("scopes.description")?))
    }

    pub(in crate::store) fn audit_entry(&mut self) -> Result<AuditEntry, StoreError> {
        let row = self.audit_row()?;
        AuditEntry::from_stored(&row).ok_or_else(|| invalid("audit_events.payload", "invalid event"))
    }

    /// Whatever it says: only what is of another type is not read.
    pub(in crate::store) fn audit_row(&mut self) -> Result<AuditRow, StoreError> {
        let organization = OrganizationId::from(self.uuid("audit_events.organization_id")?);
        let seq = self.count("audit_events.seq")?;
        let payload = self.text("audit_events.payload")?;
        let hash = required("audit_events.hash", self.take("audit_events.hash", R::bytes)?)?;
        let mut row = AuditRow::new(organization, seq, payload, hash);
        row.commit = self.uuid("audit_events.commit_id")?.into();
        row.at = self.time("audit_events.at")?;
        row.actor_kind = self.text("audit_events.actor_kind")?;
        row.actor = self.text("audit_events.actor")?;
        row.action = self.text("audit_events.action")?;
        row.key_id = self.take("audit_events.key_id", R::uuid)?;
        row.user = self.optional_text("audit_events.user_id")?;
        let origin = self.personal_part(["audit_personal.origin_salt", "audit_personal.origin"])?;
        let others = self.personal_part(["audit_personal.salt", "audit_personal.values"])?;
        let personal = PersonalRow::new(origin, others);
        row.personal = (personal != PersonalRow::default()).then_some(personal);
        Ok(row)
    }

    fn personal_part(&mut self, [salt, values]: [&'static str; 2]) -> Result<Option<PersonalPart>, StoreError> {
        let salt = self.take(salt, R::bytes)?;
        let values = self.optional_text(values)?;
        Ok(match (salt, values) {
            (None, None) => None,
            // One without the other is neither forgotten nor as it was.
            (salt, values) => Some(PersonalPart::new(salt.unwrap_or_default(), values.unwrap_or_default())),
        })
    }

    pub(in crate::store) fn organization_id(&mut self) -> Result<OrganizationId, StoreError> {
        Ok(self.uuid("audit_events.organization_id")?.into())
    }

    pub(in crate::store) fn audit_chain(&mut self) -> Result<AuditChain, StoreError> {
        let organization = OrganizationId::from(self.uuid("organization_state.organization_id")?);
        let head = self.audit_head()?;
        let pruned = AuditHead {
            seq: self.count("organization_state.pruned_seq")?,
            hash: self.hash("organization_state.pruned_hash")?,
        };
        Ok(AuditChain::new(organization, head, pruned))
    }

    pub(in crate::store) fn audit_head(&mut self) -> Result<AuditHead, StoreError> {
        Ok(AuditHead {
            seq: self.count("organization_state.audit_seq")?,
            hash: self.hash("organization_state.audit_hash")?,
        })
    }

    pub(in crate::store) fn refusal_count(&mut self) -> Result<RefusalCount, StoreError> {
        let hour = self.time("refusal_counts.hour")?;
        let organization = OrganizationId::from(self.uuid("refusal_counts.organization_id")?);
        let kind = self.text("refusal_counts.kind")?;
        Ok(RefusalCount::new(
            hour,
            organization,
            kind,
            self.count("refusal_counts.n")?,
        ))
    }

    pub(in crate::store) fn refusal(&mut self) -> Result<RefusalSample, StoreError> {
        let id = self.uuid("refusals.id")?;
        let at = self.time("refusals.at")?;
        let organization = self.take("refusals.organization_id", R::uuid)?;
        let key = self.take("refusals.key_id", R::uuid)?;
        let lookup = self.optional_text("refusals.lookup")?;
        let mut sample = RefusalSample::new(at, self.text("refusals.kind")?);
        sample.id = id;
        sample.organization_id = organization.map(OrganizationId::from);
        sample.key_id = key.map(KeyId::from);
        sample.lookup = lookup;
        sample.address =
            self.optional_parsed("refusals.address", |text| text.parse().map_err(|_| "invalid address"))?;
        Ok(sample)
    }

    pub(in crate::store) fn realm(&mut self) -> Result<Realm, StoreError> {
        let id = RealmId::from(self.uuid("realm.realm_id")?);
        let crc_accepted_until = self.time("realm.crc_accepted_until")?;
        let mut realm = Realm::new(self.time("realm.created_at")?);
        realm.id = id;
        realm.crc_accepted_until = crc_accepted_until;
        Ok(realm)
    }

    pub(in crate::store) fn server_secret(&mut self) -> Result<ServerSecretRecord, StoreError> {
        let purpose = SecretPurpose::new(self.text("server_secrets.purpose")?);
        let id = self.text("server_secrets.id")?;
        let number = self.count("server_secrets.n")?;
        let state = self.parsed("server_secrets.state", column::read_secret_state)?;
        let sealed_by = self.optional_text("server_secrets.sealed_by")?;
        let value = self.take("server_secrets.value", R::bytes)?.map(SecretValue::new);
        let value = required("server_secrets.value", value)?;
        let created_at = self.time("server_secrets.created_at")?;
        let mut row = ServerSecretRecord::new(purpose, id, value, created_at);
        row.number = u8::try_from(number).map_err(|_| invalid("server_secrets.n", "must be at most 255"))?;
        row.state = state;
        row.sealed_by = sealed_by;
        row.active_from = self.time("server_secrets.active_from")?;
        row.retire_at = self.optional_time("server_secrets.retire_at")?;
        Ok(row)
    }

    pub(in crate::store) fn logged_change(&mut self) -> Result<LoggedChange, StoreError> {
        let seq = self.count("key_changes.seq")?;
        let tag = self.uuid("key_changes.tag")?.as_u128();
        let change = self.logged()?;
        let change = change.ok_or_else(|| invalid("key_changes.kind", "must not be 0"))?;
        let at = self.time("key_changes.at")?;
        Ok(LoggedChange::new(seq, tag, change, at))
    }

    /// A row of the change log, for who follows it. What cannot be understood, such as a row of a newer program, may concern
    /// every key.
    pub(in crate::store) fn log_row(&mut self) -> Result<LogRow, StoreError> {
        let place = self.place()?;
        let change = self.logged().unwrap_or_else(|_| Some(Change::new(Subject::Realm, 0)));
        Ok(LogRow { place, change })
    }

    /// The number and the tag of a row of the change log.
    pub(in crate::store) fn place(&mut self) -> Result<Place, StoreError> {
        Ok(Place {
            seq: self.count("key_changes.seq")?,
            // A row that was written by hand may have anything here.
            tag: self.uuid("key_changes.tag").map_or(0, |tag| tag.as_u128()),
        })
    }

    /// `None` for kind 0: nothing that a decision depends on.
    fn logged(&mut self) -> Result<Option<Change>, StoreError> {
        let kind = self.count("key_changes.kind")?;
        let id = self.uuid("key_changes.id")?;
        let subject = match kind {
            0 => return Ok(None),
            1 => Subject::Key(id.into()),
            2 => Subject::Organization(id.into()),
            3 => Subject::Plan(id.into()),
            4 => Subject::Realm,
            _ => return Err(invalid("key_changes.kind", "unknown kind")),
        };
        let revision = self.count("key_changes.revision")?;
        Ok(Some(Change::new(subject, revision)))
    }

    /// Whether the next column is set; it stays the next one.
    pub(in crate::store) fn is_next_set(&self) -> bool {
        !matches!(self.row.text(self.next), Ok(None))
    }

    pub(in crate::store) fn count(&mut self, column: &'static str) -> Result<u64, StoreError> {
        let number = required(column, self.take(column, R::integer)?)?;
        column::read_revision(number).map_err(|problem| invalid(column, problem))
    }

    /// A column that repeats another one, or a part of the key.
    fn skip(&mut self) {
        self.next += 1;
    }

    fn truth(&mut self, column: &'static str) -> Result<bool, StoreError> {
        match required(column, self.take(column, R::integer)?)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(invalid(column, "must be 0 or 1")),
        }
    }

    fn optional_number(&mut self, column: &'static str) -> Result<Option<u32>, StoreError> {
        let number = self.take(column, R::integer)?.map(u32::try_from).transpose();
        number.map_err(|_| invalid(column, "must be between 0 and 4294967295"))
    }

    pub(in crate::store) fn hash(&mut self, column: &'static str) -> Result<[u8; 32], StoreError> {
        let bytes = required(column, self.take(column, R::bytes)?)?;
        bytes.try_into().map_err(|_| invalid(column, "must have 32 bytes"))
    }

    fn uuid(&mut self, column: &'static str) -> Result<Uuid, StoreError> {
        required(column, self.take(column, R::uuid)?)
    }

    pub(in crate::store) fn time(&mut self, column: &'static str) -> Result<Timestamp, StoreError> {
        required(column, self.optional_time(column)?)
    }

    fn optional_time(&mut self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.take(column, R::integer)?.map(Timestamp::from_millis))
    }

    fn text(&mut self, column: &'static str) -> Result<String, StoreError> {
        required(column, self.optional_text(column)?)
    }

    fn optional_text(&mut self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.take(column, R::text)
    }

    fn parsed<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<T, StoreError> {
        required(column, self.optional_parsed(column, read)?)
    }

    fn optional_parsed<T>(
        &mut self,
        column: &'static str,
        read: impl FnOnce(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, StoreError> {
        let text = self.optional_text(column)?;
        let value = text.map(|text| read(&text)).transpose();
        value.map_err(|problem| invalid(column, problem))
    }

    fn take<T>(
        &mut self,
        column: &'static str,
        get: impl FnOnce(&R, usize) -> Result<Option<T>, Mistyped>,
    ) -> Result<Option<T>, StoreError> {
        let index = self.next;
        self.next += 1;
        get(self.row, index).map_err(|Mistyped| invalid(column, "unexpected type"))
    }
}

fn read_actor(text: &str) -> Result<Actor, &'static str> {
    text.parse().map_err(|_| "invalid actor")
}

fn required<T>(column: &'static str, value: Option<T>) -> Result<T, StoreError> {
    value.ok_or_else(|| invalid(column, "must not be NULL"))
}

fn invalid(column: &'static str, problem: &'static str) -> StoreError {
    InvalidColumn { column, problem }.into()
}
