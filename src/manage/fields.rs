//! What the library calls a part of a request, and what it is called in bodies and queries.

/// The member or parameter that this field of an [`IssueError`](crate::IssueError) is; `None` if it is none that a client sends.
pub(super) fn member(field: &str) -> Option<&'static str> {
    let found = MEMBERS.iter().find(|(library, _)| *library == field);
    found.and_then(|(_, member)| *member)
}

/// Every field that the library says, and its member.
const MEMBERS: &[(&str, Option<&str>)] = &[
    ("created_by_key", None),
    ("default_life", Some("default_life")),
    ("descendants", Some("descendants")),
    ("description", Some("description")),
    ("digest", Some("digest")),
    ("email", Some("email")),
    ("ends_with_user", Some("ends_with_user")),
    ("environment", Some("environment")),
    ("expiry", Some("expires_at")),
    ("grace period", Some("grace")),
    ("is_operator", None),
    ("key", None),
    ("key format", None),
    ("key id", None),
    ("key_limits", Some("key_limits")),
    ("labels", Some("labels")),
    ("limits", Some("lifted_limits")),
    ("longest_life", Some("longest_life")),
    ("max_keys", Some("max_keys")),
    ("metadata", Some("metadata")),
    ("metadata name", Some("metadata")),
    ("metadata value", Some("metadata")),
    ("name", Some("name")),
    ("network", Some("networks")),
    ("networks", Some("networks")),
    ("organization", Some("organization_id")),
    ("page", Some("after")),
    ("plan", Some("plan_id")),
    ("rate limit", Some("limits")),
    ("rate limit burst", Some("limits")),
    ("rate limit cost", Some("limits")),
    ("rate limit name", Some("limits")),
    ("rate limit window", Some("limits")),
    ("rate limits", Some("limits")),
    ("realm secret", None),
    ("role", None),
    ("roles", Some("roles")),
    ("scope", Some("scope")),
    ("scopes", Some("scopes")),
    ("secret", None),
    ("slug", Some("slug")),
    ("user", Some("user")),
    ("user id", Some("id")),
];
