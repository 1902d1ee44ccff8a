//! Reviews of tokens and of rights: what the test says, and nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What is known of users.
#[derive(Debug, Default)]
pub(crate) struct Reviews {
    /// By token: a `UserInfo`.
    tokens: BTreeMap<String, Value>,
    /// A user's name, and what the attributes of a request must be, as far as they are named.
    grants: Vec<(String, Value)>,
}

impl Reviews {
    pub(crate) fn know(&mut self, token: &str, user: Value) {
        self.tokens.insert(token.to_owned(), user);
    }

    pub(crate) fn forget(&mut self, token: &str) {
        self.tokens.remove(token);
    }

    pub(crate) fn grant(&mut self, user: &str, attributes: Value) {
        self.grants.push((user.to_owned(), attributes));
    }

    pub(crate) fn revoke(&mut self, user: &str) {
        self.grants.retain(|(granted, _)| granted != user);
    }

    /// The answer to a review of such a resource; `None` if it is none.
    pub(crate) fn answer(&self, group: &str, resource: &str, sent: &Value) -> Option<Value> {
        let status = match (group, resource) {
            ("authentication.k8s.io", "tokenreviews") => self.token(&sent["spec"]),
            ("authorization.k8s.io", "subjectaccessreviews") => self.access(&sent["spec"]),
            _ => return None,
        };
        let mut answer = sent.clone();
        answer["status"] = status;
        Some(answer)
    }

    fn token(&self, spec: &Value) -> Value {
        let token = spec["token"].as_str().unwrap_or_default();
        match self.tokens.get(token) {
            Some(user) => json!({"authenticated": true, "user": user}),
            None => json!({"error": "the test knows no such token"}),
        }
    }

    fn access(&self, spec: &Value) -> Value {
        let asked = match &spec["resourceAttributes"] {
            Value::Null => &spec["nonResourceAttributes"],
            attributes => attributes,
        };
        let fits = |wanted: &Value| {
            let mut pairs = wanted.as_object().into_iter().flatten();
            pairs.all(|(name, value)| asked[name] == *value)
        };
        let mut grants = self.grants.iter();
        let allowed = grants.any(|(user, wanted)| spec["user"] == json!(user) && fits(wanted));
        json!({"allowed": allowed})
    }
}
