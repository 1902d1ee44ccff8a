//! Takes an input apart into choices and texts. An input that is used up answers with zeros and nothing.

pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next byte; `None` at the end.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// Behind a length of two bytes.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let length = u16::from_le_bytes([self.byte(), self.byte()]);
        let (text, rest) = self.0.split_at(self.0.len().min(length.into()));
        self.0 = rest;
        text
    }

    /// A text, if the byte before it is odd.
    pub(crate) fn option(&mut self) -> Option<&'a [u8]> {
        (self.byte() % 2 == 1).then(|| self.text())
    }

    pub(crate) fn number(&mut self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
    }

    /// What is left.
    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// Writes what [`Input`] takes apart.
#[derive(Default)]
pub(crate) struct Output(pub(crate) Vec<u8>);

impl Output {
    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub(crate) fn text(mut self, text: &[u8]) -> Self {
        let length = u16::try_from(text.len()).unwrap();
        self.0.extend(length.to_le_bytes());
        self.0.extend(text);
        self
    }

    pub(crate) fn option(self, text: Option<&[u8]>) -> Self {
        match text {
            Some(text) => self.byte(1).text(text),
            None => self.byte(0),
        }
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }
}
