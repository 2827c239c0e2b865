//! The wire form of feature `serde`. A change here breaks clients.

use std::fmt::Debug;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use static_assertions::assert_not_impl_any;
use tower_api_key::key::{
    Actor, ApiKey, GeneratedKey, Holds, KeyId, KeyRecord, KeySecret, KeyStatus, KnownScope, Lookup, Metadata, Networks,
    Organization, OrganizationId, OrganizationStatus, ParsedKey, Plan, Policy, RateLimit, Revocation, Role, Scope,
    ScopeSet, SecretHash, ServerSecret, ServerSecrets, Timestamp, User, UserId, UserStatus,
};
use tower_api_key::store::{Candidate, StoredKey};
use tower_api_key::{AuthContext, IssuedKey};

// Types with a secret or its hash must not be serializable.
assert_not_impl_any!(ApiKey: Serialize, DeserializeOwned);
assert_not_impl_any!(SecretHash: Serialize, DeserializeOwned);
assert_not_impl_any!(KeySecret: Serialize, DeserializeOwned);
assert_not_impl_any!(GeneratedKey: Serialize, DeserializeOwned);
assert_not_impl_any!(ParsedKey<'static>: Serialize, DeserializeOwned);
assert_not_impl_any!(ServerSecret: Serialize, DeserializeOwned);
assert_not_impl_any!(ServerSecrets: Serialize, DeserializeOwned);
assert_not_impl_any!(IssuedKey: Serialize, DeserializeOwned);
assert_not_impl_any!(Candidate: Serialize, DeserializeOwned);
assert_not_impl_any!(StoredKey: Serialize, DeserializeOwned);
assert_not_impl_any!(AuthContext: Serialize, DeserializeOwned);

const ID: &str = "01900000-0000-7000-8000-000000000001";

/// Asserts that the value is written in this form and read back from it.
#[track_caller]
fn assert_form<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), form);
    assert_eq!(serde_json::from_str::<T>(form).unwrap(), *value);
}

#[track_caller]
fn error<T: DeserializeOwned + Debug>(form: &str) -> String {
    serde_json::from_str::<T>(form).expect_err(form).to_string()
}

#[test]
fn ids_scopes_lookups_and_times_are_texts() {
    assert_form(&ID.parse::<KeyId>().unwrap(), &format!("\"{ID}\""));
    assert_form(&ID.parse::<OrganizationId>().unwrap(), &format!("\"{ID}\""));
    assert_form(&"user-42".parse::<UserId>().unwrap(), r#""user-42""#);
    assert_form(&"orders:*".parse::<Scope>().unwrap(), r#""orders:*""#);
    assert_form(&Lookup::new("4kTz0Q2mVbXw").unwrap(), r#""4kTz0Q2mVbXw""#);
    let hash = "ab".repeat(32);
    assert_form(&Lookup::new(&hash).unwrap(), &format!("\"{hash}\""));
    let time = Timestamp::from_millis(1_767_225_600_000);
    assert_form(&time, r#""2026-01-01T00:00:00Z""#);
    assert_form(
        &Timestamp::from_millis(time.as_millis() + 5),
        r#""2026-01-01T00:00:00.005Z""#,
    );
}

#[test]
fn times_are_written_exactly_or_not_at_all() {
    let form = |millis| serde_json::to_string(&Timestamp::from_millis(millis));
    for (millis, text) in [
        (-62_167_219_200_000, r#""0000-01-01T00:00:00Z""#),
        (-1, r#""1969-12-31T23:59:59.999Z""#),
        (50, r#""1970-01-01T00:00:00.050Z""#),
        (54, r#""1970-01-01T00:00:00.054Z""#),
        (100, r#""1970-01-01T00:00:00.100Z""#),
        (999, r#""1970-01-01T00:00:00.999Z""#),
        (253_402_300_799_999, r#""9999-12-31T23:59:59.999Z""#),
    ] {
        assert_form(&Timestamp::from_millis(millis), text);
    }
    for outside in [i64::MIN, -62_167_219_200_001, 253_402_300_800_000, i64::MAX] {
        let error = form(outside).unwrap_err().to_string();
        assert!(error.contains("years 0000 to 9999"), "{error}");
        let mut record = record();
        record.expires_at = Some(Timestamp::from_millis(outside));
        assert!(serde_json::to_string(&record).is_err());
    }
}

#[test]
fn sets_are_sorted_lists_and_metadata_is_an_object() {
    assert_form(
        &"orders:write orders:read".parse::<ScopeSet>().unwrap(),
        r#"["orders:read","orders:write"]"#,
    );
    assert_form(
        &"2001:db8::/48 192.0.2.7".parse::<Networks>().unwrap(),
        r#"["192.0.2.7/32","2001:db8::/48"]"#,
    );
    assert_form(&ScopeSet::default(), "[]");
    let mut metadata = Metadata::default();
    metadata.set("team", "payments").unwrap();
    metadata.set("env", "\"a\"").unwrap();
    assert_form(&metadata, r#"{"env":"\"a\"","team":"payments"}"#);
}

#[test]
fn limits_name_their_numbers() {
    let limit = RateLimit::per_minute("requests", 100).unwrap();
    assert_form(&limit, r#"{"name":"requests","limit":100,"per":60,"burst":100}"#);
    let short = r#"{"name":"requests","limit":100,"per":60}"#;
    assert_eq!(serde_json::from_str::<RateLimit>(short).unwrap(), limit);
    assert_form(
        &RateLimit::per_day("tokens", 9)
            .unwrap()
            .burst(30)
            .unwrap()
            .cost(2)
            .unwrap(),
        r#"{"name":"tokens","limit":9,"per":86400,"burst":30,"cost":2}"#,
    );
}

#[test]
fn statuses_are_their_names() {
    assert_form(&KeyStatus::Active, r#""active""#);
    assert_form(&KeyStatus::Disabled, r#""disabled""#);
    assert_form(&KeyStatus::Revoked, r#""revoked""#);
    assert_form(&OrganizationStatus::Active, r#""active""#);
    assert_form(&OrganizationStatus::Inactive, r#""inactive""#);
    for form in [r#""Active""#, r#""paused""#, "0", "null"] {
        error::<KeyStatus>(form);
        error::<OrganizationStatus>(form);
    }
}

#[test]
fn actors_are_kind_and_id() {
    assert_form(&Actor::user("alice"), r#""user:alice""#);
    assert_form(&Actor::service(), r#""service""#);
    error::<Actor>(r#""nobody:alice""#);
}

#[test]
fn organizations_have_this_form() {
    let mut acme = Organization::new("Acme");
    acme.id = ID.parse().unwrap();
    acme.slug = "acme".to_owned();
    acme.limits = vec![RateLimit::per_second("all", 50).unwrap()];
    acme.created_at = Timestamp::from_millis(1_767_225_600_000);
    let form = [
        r#"{"id":"01900000-0000-7000-8000-000000000001","slug":"acme","name":"Acme","email":null,"plan":null,"#,
        r#""status":"active","is_operator":false,"requires":[],"limits":[{"name":"all","limit":50,"per":1,"burst":50}],"#,
        r#""lifted_limits":[],"key_limits":[],"lifted_key_limits":[],"max_keys":null,"policy":{"longest_life":null,"#,
        r#""default_life":null,"requires_expiry":false,"grantable":null,"requires_networks":false},"metadata":{},"#,
        r#""created_at":"2026-01-01T00:00:00Z","revision":1}"#,
    ];
    assert_form(&acme, &form.concat());
}

#[test]
fn policies_have_this_form() {
    let mut policy = Policy::default();
    policy.longest_life = Some(Duration::from_secs(90 * 86_400));
    policy.grantable = Some("orders:*".parse().unwrap());
    policy.requires_networks = true;
    let form = [
        r#"{"longest_life":7776000000,"default_life":null,"requires_expiry":false,"grantable":["orders:*"],"#,
        r#""requires_networks":true}"#,
    ];
    let form = form.concat();
    assert_form(&policy, &form);
    for (from, to) in [
        (r#","default_life":null"#, ""),
        (r#","grantable":["orders:*"]"#, ""),
        (r#","requires_networks":true"#, ""),
        (r#""requires_networks":true"#, r#""requires_networks":1"#),
        ("7776000000", "-1"),
        ("7776000000", "\"90d\""),
        ("true}", "true,\"strict\":true}"),
    ] {
        let changed = form.replacen(from, to, 1);
        assert_ne!(changed, form, "{from}");
        error::<Policy>(&changed);
    }
}

#[test]
fn plans_users_roles_and_scopes_have_these_forms() {
    let mut plan = Plan::new("pro");
    plan.id = ID.parse().unwrap();
    plan.key_limits = vec![RateLimit::per_second("all", 50).unwrap()];
    plan.max_keys = Some(9);
    let form = [
        r#"{"id":"01900000-0000-7000-8000-000000000001","name":"pro","key_limits":[{"name":"all","limit":50,"per":1,"#,
        r#""burst":50}],"limits":[],"max_keys":9,"revision":1}"#,
    ];
    assert_form(&plan, &form.concat());
    let created = Timestamp::from_millis(1_767_225_600_000);
    let mut user = User::new(ID.parse().unwrap(), "alice".parse().unwrap(), created);
    user.status = UserStatus::Disabled;
    user.email = Some("alice@example.com".to_owned());
    let form = [
        r#"{"organization_id":"01900000-0000-7000-8000-000000000001","id":"alice","name":null,"#,
        r#""email":"alice@example.com","metadata":{},"status":"disabled","reason":"","actor":"service","#,
        r#""status_at":"2026-01-01T00:00:00Z","revision":1}"#,
    ];
    assert_form(&user, &form.concat());
    let role = Role::new("reader", "orders:read".parse().unwrap());
    let form = r#"{"name":"reader","scopes":["orders:read"],"description":"","revision":1}"#;
    assert_form(&role, form);
    let scope = KnownScope::new("orders:read".parse().unwrap(), "Reads orders");
    assert_form(&scope, r#"{"scope":"orders:read","description":"Reads orders"}"#);
}

fn record() -> KeyRecord {
    let created = Timestamp::from_millis(1_767_225_600_000);
    let mut record = KeyRecord::new(ID.parse().unwrap(), "nightly export", created);
    record.id = ID.parse().unwrap();
    record
}

#[test]
fn new_records_have_this_form() {
    let form = [
        r#"{"id":"01900000-0000-7000-8000-000000000001","organization_id":"01900000-0000-7000-8000-000000000001","#,
        r#""user":null,"ends_with_user":false,"name":"nightly export","labels":[],"prefix":"","environment":null,"#,
        r#""scopes":[],"roles":[],"networks":[],"limits":[],"lifted_limits":[],"metadata":{},"status":"active","#,
        r#""revocation":null,"holds":[],"created_at":"2026-01-01T00:00:00Z","created_by":"service","created_by_key":null,"#,
        r#""is_canary":false,"requires":[],"expires_at":null,"revision":1}"#,
    ];
    assert_form(&record(), &form.concat());
}

#[test]
fn full_records_have_this_form() {
    let mut record = record();
    record.user = Some("alice".parse().unwrap());
    record.prefix = "acme".into();
    record.environment = Some("live".into());
    record.scopes = "orders:read".parse().unwrap();
    record.networks = "10.0.0.0/8".parse().unwrap();
    record.limits = vec![RateLimit::per_minute("requests", 100).unwrap()];
    record.ends_with_user = true;
    record.labels = "team:a ops".parse().unwrap();
    record.roles = "reader".parse().unwrap();
    record.lifted_limits = "writes".parse().unwrap();
    record.created_by_key = Some(ID.parse().unwrap());
    record.is_canary = true;
    record.requires = "quotas".parse().unwrap();
    record.metadata.set("team", "payments").unwrap();
    record.holds = Holds::new(["user:alice"]).unwrap();
    record.status = KeyStatus::Revoked;
    let at = Timestamp::from_millis(1_767_225_601_500);
    record.revocation = Some(Revocation::new(at, "laptop lost", Actor::user("bob")));
    record.created_by = Actor::operator("carol");
    record.expires_at = Some(Timestamp::from_millis(253_402_300_799_000));
    record.revision = 7;
    let form = [
        r#"{"id":"01900000-0000-7000-8000-000000000001","organization_id":"01900000-0000-7000-8000-000000000001","#,
        r#""user":"alice","ends_with_user":true,"name":"nightly export","labels":["ops","team:a"],"prefix":"acme","#,
        r#""environment":"live","scopes":["orders:read"],"roles":["reader"],"#,
        r#""networks":["10.0.0.0/8"],"limits":[{"name":"requests","limit":100,"per":60,"burst":100}],"#,
        r#""lifted_limits":["writes"],"#,
        r#""metadata":{"team":"payments"},"status":"revoked","revocation":{"at":"2026-01-01T00:00:01.500Z","#,
        r#""reason":"laptop lost","actor":"user:bob"},"holds":["user:alice"],"created_at":"2026-01-01T00:00:00Z","#,
        r#""created_by":"operator:carol","created_by_key":"01900000-0000-7000-8000-000000000001","is_canary":true,"#,
        r#""requires":["quotas"],"expires_at":"9999-12-31T23:59:59Z","revision":7}"#,
    ];
    let form = form.concat();
    assert_form(&record, &form);
    for (from, to) in [
        (r#""revision":7"#, r#""revision":7,"frozen":true"#),
        (r#""at":"2026"#, r#""how":"","at":"2026"#),
        (r#","status":"revoked""#, ""),
        (r#""user":"alice","#, ""),
        (r#""environment":"live","#, ""),
        (r#""networks":["10.0.0.0/8"],"#, ""),
        (r#""roles":["reader"],"#, ""),
        (r#""requires":["quotas"],"#, ""),
        (r#""is_canary":true,"#, ""),
        (r#""labels":["ops","team:a"]"#, r#""labels":["Ops"]"#),
        (r#""metadata":{"team":"payments"},"#, ""),
        (r#""expires_at":"9999-12-31T23:59:59Z","#, ""),
        (
            r#""expires_at":"9999-12-31T23:59:59Z""#,
            r#""expires_at":"10000-01-01T00:00:00Z""#,
        ),
        (
            r#""per":60,"burst":100}]"#,
            r#""per":60,"burst":100},{"name":"requests","limit":5,"per":1}]"#,
        ),
        (r#""status":"revoked""#, r#""status":"gone""#),
        (r#""limit":100"#, r#""limit":0"#),
        ("10.0.0.0/8", "10.0.0.0/99"),
        (r#""revision":7"#, r#""revision":-7"#),
    ] {
        let changed = form.replacen(from, to, 1);
        assert_ne!(changed, form, "{from}");
        error::<KeyRecord>(&changed);
    }
}

#[test]
fn what_parsing_refuses_is_not_read() {
    for form in [
        r#"{"name":"Requests","limit":1,"per":1}"#,
        r#"{"name":"requests","limit":0,"per":1}"#,
        r#"{"name":"requests","limit":1,"per":0}"#,
        r#"{"name":"requests","limit":1,"per":2678401}"#,
        r#"{"name":"requests","limit":1,"per":1,"burst":0}"#,
        r#"{"name":"requests","limit":1,"per":1,"cost":0}"#,
        r#"{"name":"requests","limit":4294967296,"per":1}"#,
        r#"{"name":"requests","limit":1.5,"per":1}"#,
        r#"{"name":"requests","limit":1,"per":1,"window":"strict"}"#,
        r#"{"name":"requests","limit":1,"limit":2,"per":1}"#,
        r#"{"name":"requests","limit":1}"#,
        "null",
    ] {
        error::<RateLimit>(form);
    }
    for form in [r#""Orders:Read""#, "\"\"", "1", "null"] {
        error::<Scope>(form);
    }
    for form in [r#"["a","B"]"#, "[1]", r#""a b""#, "{}", "null"] {
        error::<ScopeSet>(form);
    }
    for form in [r#"["10.0.0.0/33"]"#, r#"["example.com"]"#, r#""10.0.0.0/8""#, "null"] {
        error::<Networks>(form);
    }
    for form in [r#"{"a":1}"#, r#"{"":"a"}"#, r#"{"a":"b","a":"c"}"#, "[]", "null"] {
        error::<Metadata>(form);
    }
    for form in ["\"\"", r#""a b""#, "null", "7"] {
        error::<Lookup>(form);
    }
    for form in [r#""2026-01-01""#, "1767225600000", "null"] {
        error::<Timestamp>(form);
    }
    error::<KeyId>(r#""1""#);
    error::<UserId>("\"\"");
}

#[test]
fn errors_show_no_text_that_may_be_a_key() {
    let key = "acme_live_4kTz0Q2mVbXw";
    let form = format!("\"{key}\"");
    for error in [
        error::<KeyId>(&form),
        error::<OrganizationId>(&form),
        error::<Timestamp>(&form),
    ] {
        assert!(!error.contains(key), "{error}");
    }
    assert!(!error::<Lookup>(r#""acme live""#).contains("acme"));
}

#[test]
fn lists_and_metadata_are_bounded() {
    let scopes = |count| serde_json::to_string(&vec!["a"; count]).unwrap();
    assert!(serde_json::from_str::<ScopeSet>(&scopes(256)).is_ok());
    assert!(error::<ScopeSet>(&scopes(257)).contains("at most 256"));
    let networks = serde_json::to_string(&vec!["10.0.0.0/8"; 257]).unwrap();
    assert!(error::<Networks>(&networks).contains("at most 256"));
    let limits = |count| -> Vec<RateLimit> {
        let limit = |number| RateLimit::per_hour(&format!("limit-{number}"), 1).unwrap();
        (0..count).map(limit).collect()
    };
    let mut acme = Organization::new("Acme");
    acme.limits = limits(257);
    assert!(error::<Organization>(&serde_json::to_string(&acme).unwrap()).contains("at most 256"));
    acme.limits = limits(16);
    assert!(serde_json::from_str::<Organization>(&serde_json::to_string(&acme).unwrap()).is_ok());
    let entries: serde_json::Map<_, _> = (0..65).map(|i| (i.to_string(), "a".into())).collect();
    assert!(error::<Metadata>(&serde_json::to_string(&entries).unwrap()).contains("at most 64"));
}
