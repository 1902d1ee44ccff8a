//! How a file of the ledger begins: what it is, whose, and of which ledger.

use std::io::{self, Read};

use gaugeway_wire::LedgerEpoch;
use prost::Message;

use super::{
    Owner,
    directory::{Kind, Name},
    frame::{self, Frames, Next},
};

const MAGIC: &[u8; 8] = b"gwledger";
const VERSION: u32 = 1;

/// Whose ledger it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Names the ledger's life.
    pub(super) epoch: LedgerEpoch,
    /// Who held the Lease when the file was begun.
    pub(super) owner: Owner,
    /// The machine's boot, empty where it has no name. What was written before another boot may be incomplete.
    pub(super) boot: String,
}

/// Why a file does not begin like one of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// Shorter than a header: its writer was killed before anything was logged in it.
    #[error("it ends inside its header")]
    Torn,
    #[error("it does not begin like a file of the ledger")]
    Foreign,
    #[error("it was written by a later version of gaugeway (format {0}, this one knows {VERSION})")]
    Version(u32),
    #[error("its header is that of another file")]
    Misplaced,
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// 1 log, 2 snapshot.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(uint64, tag = "3")]
    number: u64,
    #[prost(fixed64, tag = "4")]
    epoch: u64,
    #[prost(string, tag = "5")]
    owner: String,
    #[prost(string, tag = "6")]
    boot: String,
    /// The Lease's transitions under the owner; 0 where no Lease decides.
    #[prost(uint32, tag = "7")]
    term: u32,
}

/// The first bytes of a file.
pub(super) fn encode(name: Name, identity: &Identity) -> Vec<u8> {
    let record = HeaderRecord {
        version: VERSION,
        kind: kind(name.kind),
        number: name.number,
        epoch: identity.epoch.0,
        owner: identity.owner.identity.clone(),
        boot: identity.boot.clone(),
        term: identity.owner.term,
    };
    let mut out = MAGIC.to_vec();
    frame::put(&mut out, &record.encode_to_vec());
    out
}

/// Reads the header of a file of `length` bytes; gives the frames that follow.
pub(super) fn read<R: Read>(
    mut from: R,
    length: u64,
    name: Name,
) -> Result<(Identity, Frames<R>), HeaderError> {
    let mut magic = [0; MAGIC.len()];
    let present = usize::try_from(length).map_or(magic.len(), |length| length.min(magic.len()));
    let (there, _) = magic.split_at_mut(present);
    from.read_exact(there)?;
    if !MAGIC.starts_with(there) {
        return Err(HeaderError::Foreign);
    }
    if there.len() < MAGIC.len() {
        return Err(HeaderError::Torn);
    }
    let at = MAGIC.len() as u64;
    let mut frames = Frames::new(from, at, length - at);
    let record = match frames.next()? {
        Next::Record(payload) => HeaderRecord::decode(payload).map_err(|_| HeaderError::Foreign)?,
        Next::End | Next::Torn => return Err(HeaderError::Torn),
        Next::Corrupt => return Err(HeaderError::Foreign),
    };
    if record.version != VERSION {
        return Err(HeaderError::Version(record.version));
    }
    if (record.kind, record.number) != (kind(name.kind), name.number) {
        return Err(HeaderError::Misplaced);
    }
    let identity = Identity {
        epoch: LedgerEpoch(record.epoch),
        owner: Owner {
            identity: record.owner,
            term: record.term,
        },
        boot: record.boot,
    };
    Ok((identity, frames))
}

const fn kind(kind: Kind) -> u32 {
    match kind {
        Kind::Log | Kind::Stale => 1,
        Kind::Snapshot => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Name = Name {
        kind: Kind::Log,
        number: 7,
    };

    fn identity() -> Identity {
        Identity {
            epoch: LedgerEpoch(42),
            owner: Owner {
                identity: "me".into(),
                term: 3,
            },
            boot: "b".into(),
        }
    }

    fn read_bytes(bytes: &[u8], name: Name) -> Result<Identity, HeaderError> {
        read(bytes, bytes.len() as u64, name).map(|(identity, _)| identity)
    }

    #[test]
    fn a_header_says_what_was_written() {
        let bytes = encode(NAME, &identity());
        assert_eq!(read_bytes(&bytes, NAME).unwrap(), identity());
        let other = Name { number: 8, ..NAME };
        let misplaced = read_bytes(&bytes, other);
        assert!(matches!(misplaced, Err(HeaderError::Misplaced)));
    }

    #[test]
    fn every_cut_is_torn_and_every_flip_is_foreign() {
        let bytes = encode(NAME, &identity());
        for cut in 0..bytes.len() {
            let torn = read_bytes(&bytes[..cut], NAME);
            assert!(matches!(torn, Err(HeaderError::Torn)), "{cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 1;
            let foreign = read_bytes(&flipped, NAME);
            assert!(matches!(foreign, Err(HeaderError::Foreign)), "{cut}");
        }
        assert!(matches!(
            read_bytes(b"something else entirely", NAME),
            Err(HeaderError::Foreign)
        ));
    }
}
