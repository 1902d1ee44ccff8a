//! The little YAML that the renderer writes: quoted scalars and indented blocks.

use std::fmt::Display;

/// A double-quoted scalar. JSON's escapes are a subset of YAML's.
pub(super) fn quote(text: impl Display) -> String {
    serde_json::Value::String(text.to_string()).to_string()
}

/// Moves a block right by `spaces`; empty lines stay empty.
pub(super) fn indent(block: &str, spaces: usize) -> String {
    let pad = " ".repeat(spaces);
    let mut out = String::with_capacity(block.len() + block.lines().count() * spaces);
    for line in block.lines() {
        if !line.is_empty() {
            out.push_str(&pad);
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_cannot_be_left() {
        assert_eq!(quote("a\"b\n- c: {}"), r#""a\"b\n- c: {}""#);
    }

    #[test]
    fn indenting_keeps_empty_lines_empty() {
        assert_eq!(indent("a\n\n  b", 2), "  a\n\n    b\n");
    }
}
