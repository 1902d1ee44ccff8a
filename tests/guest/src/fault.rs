//! Faults in place of a host call's true answer: one at a chosen position, or many at random.
//!
//! A fault is always something that a host *could* do: a status, other bytes than expected, a clock that jumps. It
//! never writes outside what the call may write.

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::abi::Status;

/// What happens instead of the true answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The call answers this number and does and writes nothing. Not only the ABI's: hosts have made up others.
    Status(u32),
    /// The call does what it should, then answers this number all the same.
    Late(u32),
    /// The call succeeds and hands over these bytes (property, header, buffer). A time is read from the first eight.
    /// Calls that hand over nothing behave as ever.
    Value(Vec<u8>),
    /// The call succeeds and says that its answer lies there, in memory that it never asked for. Calls that hand over
    /// nothing behave as ever.
    Pointer {
        /// Address in the guest's memory, or outside of it.
        at: u32,
        /// Length in bytes.
        size: u32,
    },
}

/// When faults happen. Positions count the host calls of one VM, from 0, WASI's included.
#[derive(Clone, Debug, Default)]
pub enum Faults {
    /// Never.
    #[default]
    None,
    /// Once.
    At {
        /// Position of the call.
        position: u64,
        /// What it gets.
        fault: Fault,
    },
    /// At random positions, the same for the same seed.
    Random(RandomFaults),
    /// From a position on, every call that is made under a name fails.
    Name {
        /// Import name.
        name: &'static str,
        /// What it gets.
        fault: Fault,
    },
}

/// Random faults of one seed.
#[derive(Clone, Debug)]
pub struct RandomFaults {
    rng: SmallRng,
    per_mille: u32,
}

impl RandomFaults {
    /// `per_mille` of the host calls fail.
    #[must_use]
    pub fn new(seed: u64, per_mille: u32) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            per_mille,
        }
    }

    fn draw(&mut self) -> Option<Fault> {
        (self.rng.random_range(0..1000) < self.per_mille).then(|| any_fault(&mut self.rng))
    }
}

fn any_fault(rng: &mut SmallRng) -> Fault {
    match rng.random_range(0..10) {
        0..=2 => Fault::Status(any_status(rng)),
        3 => Fault::Late(any_status(rng)),
        4 => Fault::Pointer {
            at: any_number(rng),
            size: any_number(rng),
        },
        _ => Fault::Value(any_bytes(rng)),
    }
}

/// Sizes and addresses around which arithmetic goes wrong.
fn any_number(rng: &mut SmallRng) -> u32 {
    let edges = [
        0,
        1,
        8,
        64,
        1 << 16,
        1 << 20,
        1 << 31,
        u32::MAX - 7,
        u32::MAX,
    ];
    match rng.random_range(0..=edges.len()) {
        at if at < edges.len() => edges[at],
        _ => rng.next_u32() >> rng.random_range(0..32_u32),
    }
}

impl Faults {
    /// The fault of the call at `position`, if it has one.
    pub(crate) fn draw(&mut self, position: u64, name: &'static str) -> Option<Fault> {
        match self {
            Self::None => None,
            Self::At {
                position: at,
                fault,
            } => (*at == position).then(|| fault.clone()),
            Self::Random(random) => random.draw(),
            Self::Name {
                name: failing,
                fault,
            } => (*failing == name).then(|| fault.clone()),
        }
    }
}

fn any_status(rng: &mut SmallRng) -> u32 {
    match rng.random_range(0..16_usize) {
        15 => rng.next_u32(),
        14 => Status::Ok as u32,
        at => Status::FAILURES.get(at).map_or(99, |status| *status as u32),
    }
}

/// Bytes as an adversary would choose them: numbers of every width, extremes, address lists, near misses, noise.
#[must_use]
pub fn any_bytes(rng: &mut SmallRng) -> Vec<u8> {
    match rng.random_range(0..9) {
        0 => Vec::new(),
        1 => rng.next_u64().to_le_bytes().to_vec(),
        2 => EXTREMES[rng.random_range(0..EXTREMES.len())]
            .to_le_bytes()
            .to_vec(),
        3 => random_bytes(rng, 24),
        4 => random_bytes(rng, 5000),
        5 => ADVERSARIAL[rng.random_range(0..ADVERSARIAL.len())].to_vec(),
        6 => mutated(rng),
        7 => ADVERSARIAL[rng.random_range(0..ADVERSARIAL.len())].repeat(rng.random_range(1..400)),
        8 if rng.random_ratio(1, 50) => vec![b'9'; rng.random_range(1..400_000)],
        _ => rng.random_range(0..100_000_u32).to_string().into_bytes(),
    }
}

fn random_bytes(rng: &mut SmallRng, below: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..below)];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn mutated(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = ADVERSARIAL[rng.random_range(0..ADVERSARIAL.len())].to_vec();
    for _ in 0..rng.random_range(1..4) {
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            bytes[at] = rng.next_u32().to_le_bytes()[0];
        }
    }
    bytes
}

const EXTREMES: [i64; 10] = [
    0,
    1,
    -1,
    i64::MIN,
    i64::MAX,
    16384,
    32,
    4,
    86_400_000_000_001,
    -32_768,
];

/// What an attribute might hold at its worst.
pub const ADVERSARIAL: [&[u8]; 26] = [
    b"10.0.0.1:80",
    b"10.0.0.1:80, 10.0.0.2:80",
    b"10.0.0.1:80, 10.0.0.2:80 : 10.0.0.3:80",
    b"[::1]:80",
    b"[fe80::1%eth0]:65536",
    b"[2001:db8::ffff:10.0.0.1]:443",
    b"[:::]:1",
    b"[",
    b"]:80",
    b"unix:/run/up.sock",
    b"envoy://connect_originate/10.0.0.1:80",
    b"envoy://",
    b"256.256.256.256:99999",
    b"1.2.3:80",
    b":",
    b", , ,",
    b"-, -, 0.003",
    b"0.044",
    b"9999999999999999999.999",
    b"-0.001",
    b"502, 200",
    b"000",
    b"\xff\xfe\x00\x80",
    b"\0\0\0\0",
    b"outbound|80||a.b.svc.cluster.local",
    b"cluster:a/b/80",
];
