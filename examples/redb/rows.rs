//! Rows as JSON. The library has a wire form for records; what holds hashes and secrets has none, so it stands here.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower_api_key::key::{
    KeyRecord, KeySecret, KnownScope, Lookup, Organization, Plan, Realm, RealmId, Role, SecretForm, SecretHash,
    SecretPurpose, SecretState, SecretValue, ServerSecretRecord, Timestamp, User,
};
use tower_api_key::store::{StoreError, StoreErrorKind, StoredKey};
use uuid::Uuid;

/// A row and its text. What cannot be read is an error: a default would open what was closed.
pub trait Stored: Sized {
    type Form: Serialize + DeserializeOwned;

    fn form(&self) -> Self::Form;

    fn row(form: Self::Form) -> Option<Self>;
}

pub fn write<T: Stored>(row: &T) -> Result<Vec<u8>, StoreError> {
    write_form(&row.form())
}

pub fn read<T: Stored>(bytes: &[u8]) -> Result<T, StoreError> {
    of_form(read_form(bytes)?)
}

pub fn of_form<T: Stored>(form: T::Form) -> Result<T, StoreError> {
    let invalid = || {
        StoreError::with_source(
            StoreErrorKind::InvalidRecord,
            "a column has a value that it cannot have",
        )
    };
    T::row(form).ok_or_else(invalid)
}

/// For records with a wire form of their own.
pub fn write_form<T: Serialize>(form: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(form).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))
}

pub fn read_form<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|error| StoreError::with_source(StoreErrorKind::InvalidRecord, error))
}

// Times are numbers here: the wire form has texts, of the years 0 to 9999, and rows may have others.

/// What stands for such a time in a record's wire form.
const ELSEWHERE: Timestamp = Timestamp::from_millis(0);

pub fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

pub fn time(millis: Option<i64>) -> Option<Timestamp> {
    millis.map(Timestamp::from_millis)
}

#[derive(Serialize, Deserialize)]
pub struct OrganizationForm {
    row: Organization,
    created_at: i64,
}

impl Stored for Organization {
    type Form = OrganizationForm;

    fn form(&self) -> OrganizationForm {
        let mut row = self.clone();
        row.created_at = ELSEWHERE;
        OrganizationForm {
            row,
            created_at: self.created_at.as_millis(),
        }
    }

    fn row(mut form: OrganizationForm) -> Option<Self> {
        form.row.created_at = Timestamp::from_millis(form.created_at);
        Some(form.row)
    }
}

#[derive(Serialize, Deserialize)]
pub struct KeyForm {
    record: KeyRecord,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    secrets: Vec<KeySecretForm>,
}

#[derive(Serialize, Deserialize)]
struct KeySecretForm {
    lookup: String,
    hash: String,
    form: String,
    hint: Option<String>,
    created_at: i64,
    expires_at: Option<i64>,
    grace_ends_at: Option<i64>,
}

impl Stored for StoredKey {
    type Form = KeyForm;

    fn form(&self) -> KeyForm {
        let secrets = self.secrets.iter().map(|secret| KeySecretForm {
            lookup: secret.lookup.as_str().into(),
            hash: secret.hash.as_str().into(),
            form: secret.form.as_str().into(),
            hint: secret.hint.clone(),
            created_at: secret.created_at.as_millis(),
            expires_at: millis(secret.expires_at),
            grace_ends_at: millis(secret.grace_ends_at),
        });
        let mut record = self.record.clone();
        (record.created_at, record.expires_at) = (ELSEWHERE, None);
        let revoked = record.revocation.as_mut();
        let revoked_at = revoked.map(|revocation| std::mem::replace(&mut revocation.at, ELSEWHERE));
        KeyForm {
            record,
            created_at: self.record.created_at.as_millis(),
            expires_at: millis(self.record.expires_at),
            revoked_at: millis(revoked_at),
            secrets: secrets.collect(),
        }
    }

    fn row(form: KeyForm) -> Option<Self> {
        const FORMS: [SecretForm; 4] = [
            SecretForm::None,
            SecretForm::Crc32,
            SecretForm::Keyed,
            SecretForm::Foreign,
        ];
        let secrets = form.secrets.into_iter().map(|row| {
            let (lookup, hash) = (Lookup::new(&row.lookup).ok()?, SecretHash::new(row.hash).ok()?);
            let mut secret = KeySecret::new(lookup, hash, Timestamp::from_millis(row.created_at));
            secret.form = FORMS.into_iter().find(|form| form.as_str() == row.form)?;
            secret.hint = row.hint;
            (secret.expires_at, secret.grace_ends_at) = (time(row.expires_at), time(row.grace_ends_at));
            Some(secret)
        });
        let secrets = secrets.collect::<Option<_>>()?;
        let mut record = form.record;
        record.created_at = Timestamp::from_millis(form.created_at);
        record.expires_at = time(form.expires_at);
        if let (Some(revocation), Some(at)) = (&mut record.revocation, time(form.revoked_at)) {
            revocation.at = at;
        }
        Some(Self::new(record, secrets))
    }
}

/// What many keys share, in one table.
#[derive(Serialize, Deserialize)]
pub enum SharedForm {
    Realm(RealmForm),
    Secret(ServerSecretForm),
    Plan(Plan),
    User(UserForm),
    Role(Role),
    Scope(KnownScope),
}

#[derive(Serialize, Deserialize)]
pub struct UserForm {
    row: User,
    status_at: i64,
}

impl Stored for User {
    type Form = UserForm;

    fn form(&self) -> UserForm {
        let mut row = self.clone();
        row.status_at = ELSEWHERE;
        UserForm {
            row,
            status_at: self.status_at.as_millis(),
        }
    }

    fn row(mut form: UserForm) -> Option<Self> {
        form.row.status_at = Timestamp::from_millis(form.status_at);
        Some(form.row)
    }
}

#[derive(Serialize, Deserialize)]
pub struct RealmForm {
    id: u128,
    crc_accepted_until: i64,
    created_at: i64,
}

impl Stored for Realm {
    type Form = RealmForm;

    fn form(&self) -> RealmForm {
        RealmForm {
            id: self.id.as_uuid().as_u128(),
            crc_accepted_until: self.crc_accepted_until.as_millis(),
            created_at: self.created_at.as_millis(),
        }
    }

    fn row(form: RealmForm) -> Option<Self> {
        let mut realm = Self::new(Timestamp::from_millis(form.created_at));
        realm.id = RealmId::from(Uuid::from_u128(form.id));
        realm.crc_accepted_until = Timestamp::from_millis(form.crc_accepted_until);
        Some(realm)
    }
}

#[derive(Serialize, Deserialize)]
pub struct ServerSecretForm {
    purpose: String,
    id: String,
    number: u8,
    state: String,
    sealed_by: Option<String>,
    value: Vec<u8>,
    created_at: i64,
    active_from: i64,
    retire_at: Option<i64>,
}

impl Stored for ServerSecretRecord {
    type Form = ServerSecretForm;

    fn form(&self) -> ServerSecretForm {
        ServerSecretForm {
            purpose: self.purpose.as_str().into(),
            id: self.id.clone(),
            number: self.number,
            state: self.state.as_str().into(),
            sealed_by: self.sealed_by.clone(),
            value: self.value.expose_secret().to_vec(),
            created_at: self.created_at.as_millis(),
            active_from: self.active_from.as_millis(),
            retire_at: millis(self.retire_at),
        }
    }

    fn row(form: ServerSecretForm) -> Option<Self> {
        const STATES: [SecretState; 3] = [SecretState::Pending, SecretState::Active, SecretState::Retired];
        let (purpose, value) = (SecretPurpose::new(form.purpose), SecretValue::new(form.value));
        let mut secret = Self::new(purpose, form.id, value, Timestamp::from_millis(form.created_at));
        secret.number = form.number;
        secret.state = STATES.into_iter().find(|state| state.as_str() == form.state)?;
        secret.sealed_by = form.sealed_by;
        secret.active_from = Timestamp::from_millis(form.active_from);
        secret.retire_at = time(form.retire_at);
        Some(secret)
    }
}
