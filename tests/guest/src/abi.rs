//! Numbers and names of the proxy-wasm 0.2.1 ABI.

/// What a host call answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs, reason = "names of the ABI")]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    BadExpression = 5,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    ResultMismatch = 9,
    InternalFailure = 10,
    BrokenConnection = 11,
    Unimplemented = 12,
}

impl Status {
    /// Every status that a host may answer in place of `Ok`.
    pub const FAILURES: [Self; 12] = [
        Self::NotFound,
        Self::BadArgument,
        Self::SerializationFailure,
        Self::ParseFailure,
        Self::BadExpression,
        Self::InvalidMemoryAccess,
        Self::Empty,
        Self::CasMismatch,
        Self::ResultMismatch,
        Self::InternalFailure,
        Self::BrokenConnection,
        Self::Unimplemented,
    ];
}

/// Buffer types of `proxy_get_buffer_bytes` that these hosts answer.
pub mod buffer {
    /// Body of the answer to an HTTP call; only in its callback.
    pub const HTTP_CALL_RESPONSE_BODY: u32 = 4;
    /// The VM's configuration.
    pub const VM_CONFIGURATION: u32 = 6;
    /// The plugin's configuration; only in start and configure.
    pub const PLUGIN_CONFIGURATION: u32 = 7;
}

/// Map types of the header calls that these hosts answer.
pub mod map {
    /// The client's request.
    pub const REQUEST_HEADERS: u32 = 0;
    /// The response.
    pub const RESPONSE_HEADERS: u32 = 2;
    /// Headers of the answer to an HTTP call; only in its callback.
    pub const HTTP_CALL_RESPONSE_HEADERS: u32 = 6;
}

/// Names of the callbacks.
#[allow(missing_docs, reason = "names of the ABI")]
pub mod callback {
    pub const ABI_VERSION: &str = "proxy_abi_version_0_2_1";
    pub const INITIALIZE: &str = "_initialize";
    pub const ALLOCATE: &str = "proxy_on_memory_allocate";
    pub const CONTEXT_CREATE: &str = "proxy_on_context_create";
    pub const VM_START: &str = "proxy_on_vm_start";
    pub const CONFIGURE: &str = "proxy_on_configure";
    pub const TICK: &str = "proxy_on_tick";
    pub const REQUEST_HEADERS: &str = "proxy_on_request_headers";
    pub const REQUEST_BODY: &str = "proxy_on_request_body";
    pub const RESPONSE_HEADERS: &str = "proxy_on_response_headers";
    pub const RESPONSE_BODY: &str = "proxy_on_response_body";
    pub const HTTP_CALL_RESPONSE: &str = "proxy_on_http_call_response";
    pub const DONE: &str = "proxy_on_done";
    pub const LOG: &str = "proxy_on_log";
    pub const DELETE: &str = "proxy_on_delete";
}

/// Names joined and encoded as `proxy_get_header_map_pairs` gives them: count, sizes, then each name and value with a
/// NUL behind it.
#[must_use]
pub fn marshal_pairs(pairs: &[(String, String)]) -> Vec<u8> {
    let mut out = Vec::new();
    push_len(&mut out, pairs.len());
    for (name, value) in pairs {
        push_len(&mut out, name.len());
        push_len(&mut out, value.len());
    }
    for (name, value) in pairs {
        for text in [name, value] {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
    }
    out
}

/// The inverse of [`marshal_pairs`]; `None` when the bytes do not add up.
#[must_use]
pub fn unmarshal_pairs(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let count = len_at(bytes, 0)?;
    let mut at = 4 + count.checked_mul(8)?;
    let mut pairs = Vec::new();
    for i in 0..count {
        let mut take = |size: usize| {
            let text = bytes.get(at..at.checked_add(size)?)?;
            at += size + 1;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let name = take(len_at(bytes, 4 + i * 8)?)?;
        let value = take(len_at(bytes, 8 + i * 8)?)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

fn push_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn len_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back() {
        let pairs = vec![
            (":status".to_owned(), "200".to_owned()),
            ("empty".to_owned(), String::new()),
        ];
        assert_eq!(unmarshal_pairs(&marshal_pairs(&pairs)), Some(pairs));
        assert_eq!(unmarshal_pairs(&[9, 0, 0, 0]), None);
    }
}
