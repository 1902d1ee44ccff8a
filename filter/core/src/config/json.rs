//! The little JSON that a configuration needs, read member by member.
//!
//! Not `serde_json`: its reading of these three small objects is a tenth of the module. Strict where JSON is, with three
//! exceptions for hosts that write configurations anew: a number may be written with a point or an exponent as long as it
//! is whole (Kong's Lua writes large ones so), an empty list may be written as an empty object (Lua has one kind of
//! table), and `null` is as good as absent. Nesting is bounded.

/// Objects and arrays within each other.
const DEPTH: u32 = 32;

/// What was expected instead, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unexpected {
    pub(super) wanted: &'static str,
    pub(super) at: usize,
}

type Read<T> = Result<T, Unexpected>;

/// Reads one text from its beginning to its end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    fn refuse<T>(&self, wanted: &'static str) -> Read<T> {
        Err(Unexpected {
            wanted,
            at: self.at,
        })
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.byte()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let there = rest.starts_with(word.as_bytes());
        self.at += if there { word.len() } else { 0 };
        there
    }

    /// Takes a `null`, if there is one.
    pub(super) fn null(&mut self) -> bool {
        self.word("null")
    }

    /// Nothing must follow.
    pub(super) fn end(&mut self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.refuse("the end"),
        }
    }

    /// Hands each member that is not `null` to `member`, which must read or skip its value.
    pub(super) fn object(
        &mut self,
        member: &mut dyn FnMut(&mut Self, &str) -> Read<()>,
    ) -> Read<()> {
        self.items(b'{', b'}', "an object", &mut |reader| {
            let name = reader.string()?;
            if !reader.take(b':') {
                return reader.refuse("a colon");
            }
            match reader.null() {
                true => Ok(()),
                false => member(reader, &name),
            }
        })
    }

    /// Lets `item` read each value.
    pub(super) fn array(&mut self, item: &mut dyn FnMut(&mut Self) -> Read<()>) -> Read<()> {
        if self.peek() == Some(b'{') {
            return self.items(b'{', b'}', "a list", &mut |reader| reader.refuse("a list"));
        }
        self.items(b'[', b']', "a list", item)
    }

    fn items(
        &mut self,
        open: u8,
        close: u8,
        wanted: &'static str,
        item: &mut dyn FnMut(&mut Self) -> Read<()>,
    ) -> Read<()> {
        if !self.take(open) {
            return self.refuse(wanted);
        }
        if self.depth >= DEPTH {
            return self.refuse("less nesting");
        }
        self.depth += 1;
        if !self.take(close) {
            loop {
                item(self)?;
                if self.take(close) {
                    break;
                }
                if !self.take(b',') {
                    return self.refuse("a comma or the end of an object or list");
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// A text.
    pub(super) fn string(&mut self) -> Read<String> {
        if !self.take(b'"') {
            return self.refuse("text in quotes");
        }
        let mut out = String::new();
        loop {
            let from = self.at;
            while self
                .byte()
                .is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
            {
                self.at += 1;
            }
            // Both ends are at ASCII bytes, or at the text's own.
            out.push_str(self.text.get(from..self.at).unwrap_or_default());
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                _ => return self.refuse("the end of a text"),
            }
        }
    }

    fn escape(&mut self) -> Read<char> {
        let Some(byte) = self.byte() else {
            return self.refuse("an escape");
        };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff if self.word("\\u") => match self.hex()? {
                        second @ 0xdc00..=0xdfff => {
                            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                        }
                        _ => return self.refuse("the second half of a character"),
                    },
                    code => code,
                };
                match char::from_u32(code) {
                    Some(char) => char,
                    None => return self.refuse("a character"),
                }
            }
            _ => return self.refuse("an escape"),
        })
    }

    fn hex(&mut self) -> Read<u32> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else {
                return self.refuse("four hexadecimal digits");
            };
            self.at += 1;
            code = code << 4 | digit;
        }
        Ok(code)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Read<bool> {
        if self.word("true") {
            return Ok(true);
        }
        match self.word("false") {
            true => Ok(false),
            false => self.refuse("true or false"),
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self) -> Read<u64> {
        self.peek();
        let from = self.at;
        let parsed = self.parse_number();
        parsed.ok_or(Unexpected {
            wanted: "a whole number from 0 to 2^64 - 1",
            at: from,
        })
    }

    fn parse_number(&mut self) -> Option<u64> {
        let first = self.at;
        let mut digits = self.digits(0)?;
        if self.at > first + 1 && self.text.as_bytes().get(first) == Some(&b'0') {
            return None;
        }
        let mut decimals = 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            let from = self.at;
            digits = self.digits(digits)?;
            decimals = u32::try_from(self.at - from).ok()?;
        }
        let (mut up, mut down) = (0, decimals);
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            let negative = self.byte() == Some(b'-');
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            let exponent = u32::try_from(self.digits(0)?).ok()?;
            match negative {
                true => down = down.checked_add(exponent)?,
                false => up = exponent,
            }
        }
        if digits == 0 {
            return Some(0);
        }
        let cancelled = up.min(down);
        let scale = 10u64.checked_pow(down - cancelled)?;
        let whole = digits.is_multiple_of(scale).then(|| digits / scale)?;
        whole.checked_mul(10u64.checked_pow(up - cancelled)?)
    }

    /// At least one digit, behind those that `value` has already.
    fn digits(&mut self, mut value: u64) -> Option<u64> {
        let from = self.at;
        while let Some(digit @ b'0'..=b'9') = self.byte() {
            value = value
                .checked_mul(10)?
                .checked_add(u64::from(digit - b'0'))?;
            self.at += 1;
        }
        (self.at > from).then_some(value)
    }

    /// A number of any form that JSON has.
    fn skip_number(&mut self) -> Read<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        let leads_with_zero = self.byte() == Some(b'0');
        let whole = self.skip_digits();
        let mut is_number = whole == 1 || (whole > 1 && !leads_with_zero);
        if self.byte() == Some(b'.') {
            self.at += 1;
            is_number &= self.skip_digits() > 0;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            is_number &= self.skip_digits() > 0;
        }
        match is_number {
            true => Ok(()),
            false => self.refuse("a number"),
        }
    }

    /// How many there were.
    fn skip_digits(&mut self) -> usize {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }

    /// Any value, which is of no interest.
    pub(super) fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'{') => self.object(&mut |reader, _| reader.skip()),
            Some(b'[') => self.array(&mut Self::skip),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            _ if self.null() => Ok(()),
            _ => self.boolean().map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn reads<'a, T>(text: &'a str, read: impl FnOnce(&mut Reader<'a>) -> Read<T>) -> Read<T> {
        let mut reader = Reader::new(text);
        let value = read(&mut reader)?;
        reader.end().map(|()| value)
    }

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        for (text, number) in [
            ("0", Some(0)),
            (" 15000 ", Some(15_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("6e+10", Some(60_000_000_000)),
            ("8.64E13", Some(86_400_000_000_000)),
            ("1.0", Some(1)),
            ("120e-1", Some(12)),
            ("0e999999", Some(0)),
            ("1.5", None),
            ("1e-1", None),
            ("1e20", None),
            ("1e4294967296", None),
            ("-1", None),
            ("01", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("", None),
            ("\"1\"", None),
        ] {
            assert_eq!(reads(text, Reader::number).ok(), number, "{text}");
        }
    }

    #[test]
    fn texts_have_escapes() {
        let text = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00ü""#;
        let read = reads(text, Reader::string).unwrap();
        assert_eq!(read, "a\"\\/\u{8}\u{c}\n\r\té😀ü");
        for bad in [
            "\"",
            "\"\n\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\ude00""#,
        ] {
            assert!(reads(bad, Reader::string).is_err(), "{bad}");
        }
    }

    /// Found by fuzzing: whatever had a number's characters was passed over as one.
    #[test]
    fn what_is_skipped_is_json_too() {
        for good in ["0", "-0", "10.50", "1e9", "-1.5E-3", "0e+1"] {
            assert!(reads(good, Reader::skip).is_ok(), "{good}");
        }
        for bad in [
            "0999", "-", "1-2", "1.", ".5", "1e", "1e+", "--1", "1.2.3", "+1",
        ] {
            assert!(reads(bad, Reader::skip).is_err(), "{bad}");
        }
        assert!(reads(r#"{"polic}":{"report_interval_ms":0999}}"#, Reader::skip).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(reads(&nested(32), Reader::skip).is_ok());
        assert!(reads(&nested(33), Reader::skip).is_err());
        assert!(reads(&"[".repeat(60_000), Reader::skip).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let error = reads("{\"a\" 1}", Reader::skip).unwrap_err();
        assert_eq!((error.wanted, error.at), ("a colon", 5));
    }

    #[test]
    fn an_empty_list_may_be_an_empty_object() {
        let list = |text: &str| {
            let mut items = Vec::new();
            reads(text, |reader| {
                reader.array(&mut |reader| {
                    items.push(reader.number()?);
                    Ok(())
                })
            })
            .map(|()| items)
        };
        assert_eq!(list("[1, 2]"), Ok(vec![1, 2]));
        assert_eq!(list("[]"), Ok(vec![]));
        assert_eq!(list(" { } "), Ok(vec![]));
        assert_eq!(list(r#"{"1":1}"#).unwrap_err().wanted, "a list");
        assert_eq!(list("1").unwrap_err().wanted, "a list");
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        /// Whatever serde_json writes is skipped to its end, and its texts and numbers are read as they were.
        #[test]
        fn all_json_is_read(value in json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert!(reads(&text, Reader::skip).is_ok(), "{text}");
            }
            if let Value::String(string) = &value {
                prop_assert_eq!(&reads(&value.to_string(), Reader::string).unwrap(), string);
            }
            if let Some(number) = value.as_u64() {
                prop_assert_eq!(reads(&value.to_string(), Reader::number), Ok(number));
            }
        }

        #[test]
        fn nothing_is_too_odd(text in "[\\[\\]{}:,\"\\\\eE0-9+.u n-]{0,60}") {
            let _ = (reads(&text, Reader::skip), reads(&text, Reader::number), reads(&text, Reader::string));
        }
    }
}
