//! What the server and an instance process say to each other, over the process's Unix socket.
//!
//! One exchange a connection: a [`Request`], for [`Order::Open`] the secrets after it ([`OpenSecrets`]), for
//! [`Order::RenewKey`] the new key, then one [`Reply`]. Both travel in frames:
//!
//! ```text
//! offset  size  field
//! 0       4     length of the body, little-endian
//! 4       1     kind: 1 message (JSON, at most 1 MiB), 2 secret (bytes, at most 64 KiB)
//! 5       n     body
//! ```
//!
//! Secrets have frames of their own so that no JSON parser ever copies them; every buffer that held one is wiped. The
//! server may be newer than a process that it adopts: fields that are not known are skipped, an order that is not known
//! is refused, and the meaning of `observe`, `stop` and `lock` never changes.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
};

use attach::{BlockDevice as _, VolumeDevice};
use clusters::{DatabaseName, MasterUsername, Process, SpaceLimits, VolumeId};
use envelope::SecretBytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use volume::VolumeKey;
use zeroize::Zeroizing;

/// Version of the exchange, told in every request and reply.
pub const VERSION: u32 = 1;

const HEAD: usize = 5;

/// What a frame carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Message = 1,
    Secret = 2,
}

impl Kind {
    /// Bytes that a body of this kind may have.
    const fn longest(self) -> usize {
        match self {
            Self::Message => 1 << 20,
            Self::Secret => 1 << 16,
        }
    }
}

/// What the server wants.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub version: u32,
    #[serde(flatten)]
    pub order: Order,
}

/// The orders.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Tell your state.
    Observe,
    /// Open your volume and serve. [`OpenSecrets`] follow.
    Open(Box<Open>),
    /// Shut the database down in order, close the volume and end.
    Stop,
    /// Kill the database, abort the mount, wipe the key, answer, and end.
    Lock,
    /// Take a snapshot of the open volume into this directory, which is not there yet.
    Snapshot { to: PathBuf },
    /// Check the open volume. Any number of [`Reply::Scrub`] come before the last reply; whoever hangs up ends it.
    Scrub,
    /// The anchor that you told is kept.
    Anchored { anchor: Vec<u8> },
    /// Seal the open volume under another key, which follows, from now on, and what was sealed before in the background.
    /// The header is to name the key as `wrapped_key`; if it does so already, there is nothing to do.
    RenewKey { wrapped_key: Vec<u8> },
}

/// What is needed to open a volume and serve it, but for the secrets.
#[derive(Debug, Serialize, Deserialize)]
pub struct Open {
    pub volume: VolumeId,
    /// Directory of the volume's files.
    pub volume_dir: PathBuf,
    /// The volume that this one was cloned of, whose marker a first opening still finds.
    pub origin: Option<VolumeId>,
    /// Bytes of the volume to make if there is none; `None`: it has held a database, and has to be there.
    pub new_size: Option<u64>,
    pub wrapped_key: Vec<u8>,
    /// How many older keys follow the other secrets.
    #[serde(default)]
    pub older_keys: u16,
    /// Directory of the PostgreSQL version to run.
    pub postgres_bin_dir: PathBuf,
    /// Operating system user who runs the database.
    pub postgres_user: String,
    pub master_username: MasterUsername,
    pub database_name: Option<DatabaseName>,
    pub parameters: BTreeMap<String, String>,
    /// The server's certificate and those above it, as PEM.
    pub certificates: String,
    /// What the volume's log has to contain ([`volume::Anchor`]); `None`: any volume of this id will do.
    #[serde(default)]
    pub anchor: Option<Vec<u8>>,
    #[serde(default)]
    pub space: SpaceLimits,
    #[serde(default)]
    pub memory: Memory,
}

/// What a volume may take of the instance process's memory; bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Clean nodes of the tree: 8 KiB of them map 2 MiB of data.
    pub node_cache: usize,
    /// Data that is not written yet, at which writers wait.
    pub unwritten: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { node_cache: 64 << 20, unwritten: 32 << 20 }
    }
}

/// The secrets of [`Order::Open`], in the order in which they travel.
#[derive(Debug)]
pub struct OpenSecrets {
    /// The newest key of the volume. Exactly 32 bytes.
    pub key: VolumeKey,
    /// The private key of the server's certificate, as PEM.
    pub server_key: SecretBytes,
    /// SCRAM verifier of the master user; empty: leave the password as it is.
    pub master_verifier: SecretBytes,
    /// Older keys, which the volume may need still; as many as the order says.
    pub older_keys: Vec<VolumeKey>,
}

/// What the process answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Accepted; for `lock`, `snapshot` and `renew_key`: done.
    Done {
        version: u32,
    },
    State(State),
    /// News of a scrub.
    Scrub(ScrubNews),
    Refused {
        version: u32,
        detail: String,
    },
}

/// What a scrub tells while it goes on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScrubNews {
    Found(Found),
    Step(Step),
}

/// Something that is wrong with a volume ([`volume::Finding`]).
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub flaw: String,
    pub segment: Option<u32>,
    /// Bytes.
    pub offset: Option<u32>,
    pub first_block: u64,
    pub blocks: u64,
    pub what: String,
}

/// How far a scrub is ([`volume::Progress`]).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub blocks: u64,
    pub of: u64,
    pub nodes: u64,
    pub bytes: u64,
    pub damage: u64,
    pub findings: u64,
}

/// The state of an instance process.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct State {
    #[serde(default)]
    pub version: u32,
    pub process: Process,
    /// The volume it was told to open.
    pub volume: Option<VolumeId>,
    /// Port on the loopback interface, while it serves.
    pub port: Option<u16>,
    /// Why it is broken.
    pub failure: Option<String>,
    /// What is wrong is in the volume itself: opening it again does not help.
    #[serde(default)]
    pub refused: bool,
    /// Of its volume, once it is open.
    #[serde(default)]
    pub open: VolumeState,
}

/// What an instance tells of its volume.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
pub struct VolumeState {
    /// Where the log stood: to be kept. Before the first one is, the instance does not go on.
    #[serde(default)]
    pub anchor: Option<Vec<u8>>,
    /// Files find no room for more.
    #[serde(default)]
    pub full: bool,
    /// What was found not to be what was written, each once.
    #[serde(default)]
    pub damage: Vec<String>,
    /// The wrapped keys that the header on the disk names, oldest first: more than one while the key is renewed.
    #[serde(default)]
    pub wrapped_keys: Vec<Vec<u8>>,
    #[serde(default)]
    pub counters: Counters,
}

/// Numbers of an open volume, since it was opened where they count.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Bytes of the device.
    pub size: u64,
    /// Bytes of blocks that hold data.
    pub live: u64,
    /// Bytes of the files on the host.
    pub stored: u64,
    /// Bytes not yet written.
    pub pending: u64,
    pub written: u64,
    pub groups: u64,
    pub flushes: u64,
    pub checkpoints: u64,
    pub cleaned: u64,
    pub freed_segments: u64,
    pub stuck_segments: u64,
    pub authentication_failures: u64,
    /// Sequence number of the last group.
    pub sequence: u64,
    /// Keys that the volume needs: more than one while the key is renewed.
    pub generations: u64,
    /// Blocks and nodes of the tree that were live at the last checkpoint, and those of them under older keys.
    pub live_records: u64,
    pub older_records: u64,
}

impl Counters {
    /// How far the renewal of the key is, 0 to 99; `None` if none is under way.
    pub fn renewed_percent(&self) -> Option<u8> {
        if self.generations <= 1 {
            return None;
        }
        let newer = self.live_records.saturating_sub(self.older_records);
        let percent = u128::from(newer) * 100 / u128::from(self.live_records.max(1));
        Some(u8::try_from(percent.min(99)).expect("at most 99"))
    }

    /// Those of a device.
    pub fn of(device: &VolumeDevice) -> Self {
        const BLOCK: u64 = 8192;
        let stats = device.stats();
        Self {
            size: device.size(),
            live: stats.live_blocks * BLOCK,
            stored: stats.segment_bytes,
            pending: stats.pending,
            written: stats.bytes_written,
            groups: stats.groups,
            flushes: stats.flushes,
            checkpoints: stats.checkpoints,
            cleaned: stats.cleaned_bytes,
            freed_segments: stats.freed_segments,
            stuck_segments: stats.stuck_segments,
            authentication_failures: stats.authentication_failures,
            sequence: stats.sequence,
            generations: stats.generations,
            live_records: stats.live_records,
            older_records: stats.older_records,
        }
    }
}

impl Reply {
    /// The order was accepted, or is done.
    pub const fn done() -> Self {
        Self::Done { version: VERSION }
    }

    /// The order cannot be followed.
    pub fn refused(detail: impl Into<String>) -> Self {
        Self::Refused { version: VERSION, detail: detail.into() }
    }
}

/// Sends a message.
///
/// # Errors
/// What the connection says; `InvalidInput` for a message that is too long.
pub fn write_message(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    write_frame(to, Kind::Message, &serde_json::to_vec(message)?)
}

/// Receives a message.
///
/// # Errors
/// What the connection says; `InvalidData` for anything but one whole message of this type.
pub fn read_message<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    Ok(serde_json::from_slice(&read_frame(from, Kind::Message)?)?)
}

/// Sends the secrets of an open order.
///
/// # Errors
/// As [`write_message`].
pub fn write_secrets(to: &mut impl Write, secrets: &OpenSecrets) -> io::Result<()> {
    write_key(to, &secrets.key)?;
    write_frame(to, Kind::Secret, secrets.server_key.expose())?;
    write_frame(to, Kind::Secret, secrets.master_verifier.expose())?;
    secrets.older_keys.iter().try_for_each(|key| write_key(to, key))
}

/// Sends a volume key.
///
/// # Errors
/// As [`write_message`].
pub fn write_key(to: &mut impl Write, key: &VolumeKey) -> io::Result<()> {
    write_frame(to, Kind::Secret, key.expose())
}

/// Receives a volume key.
///
/// # Errors
/// As [`read_message`]; `InvalidData` if it has not 32 bytes.
pub fn read_key(from: &mut impl Read) -> io::Result<VolumeKey> {
    VolumeKey::copy_from(&read_frame(from, Kind::Secret)?).ok_or_else(|| invalid("not a volume key"))
}

/// Receives the secrets of an open order.
///
/// # Errors
/// As [`read_message`]; `InvalidData` if a key has not 32 bytes.
pub fn read_secrets(from: &mut impl Read, order: &Open) -> io::Result<OpenSecrets> {
    let key = read_key(from)?;
    let mut secret =
        || Ok::<_, io::Error>(SecretBytes::new(std::mem::take(&mut *read_frame(from, Kind::Secret)?)));
    let (server_key, master_verifier) = (secret()?, secret()?);
    let older_keys = (0..order.older_keys).map(|_| read_key(from)).collect::<io::Result<_>>()?;
    Ok(OpenSecrets { key, server_key, master_verifier, older_keys })
}

fn write_frame(to: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    if body.len() > kind.longest() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"));
    }
    let length = u32::try_from(body.len()).expect("below 2^32, checked above");
    let mut frame = Zeroizing::new(Vec::with_capacity(HEAD + body.len()));
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(kind as u8);
    frame.extend_from_slice(body);
    to.write_all(&frame)
}

fn read_frame(from: &mut impl Read, kind: Kind) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let [a, b, c, d, found] = head;
    let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(|_| invalid("too long"))?;
    if found != kind as u8 {
        return Err(invalid("a frame of another kind was expected"));
    }
    if length > kind.longest() {
        return Err(invalid("the frame is too long"));
    }
    // Never grows, so that no unwiped copy is left behind.
    let mut body = Zeroizing::new(vec![0; length]);
    from.read_exact(&mut body)?;
    Ok(body)
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Request {
        Request {
            version: VERSION,
            order: Order::Open(Box::new(Open {
                volume: "vol-0123456789abcdef0".parse().unwrap(),
                volume_dir: "/volumes/vol-0123456789abcdef0".into(),
                origin: None,
                new_size: Some(1 << 30),
                wrapped_key: vec![1, 2, 3],
                older_keys: 1,
                postgres_bin_dir: "/usr/lib/postgresql/15/bin".into(),
                postgres_user: "postgres".into(),
                master_username: MasterUsername::parse("dba").unwrap(),
                database_name: None,
                parameters: BTreeMap::new(),
                certificates: String::new(),
                anchor: Some(vec![4, 5]),
                space: SpaceLimits::default(),
                memory: Memory::default(),
            })),
        }
    }

    fn secrets() -> OpenSecrets {
        OpenSecrets {
            key: VolumeKey::copy_from(&[7; 32]).unwrap(),
            server_key: SecretBytes::new(b"key".to_vec()),
            master_verifier: SecretBytes::new(Vec::new()),
            older_keys: vec![VolumeKey::copy_from(&[8; 32]).unwrap()],
        }
    }

    #[test]
    fn a_renewal_is_done_when_one_key_is_left_and_not_before() {
        let of = |generations, live_records, older_records| {
            Counters { generations, live_records, older_records, ..Counters::default() }.renewed_percent()
        };
        assert_eq!([of(0, 0, 0), of(1, 10, 0)], [None, None]);
        assert_eq!([of(2, 0, 0), of(2, 8, 8), of(2, 8, 6), of(3, 8, 0)], [0, 0, 25, 99].map(Some));
    }

    #[test]
    fn an_order_to_open_arrives_as_it_was_sent() {
        let mut wire = Vec::new();
        write_message(&mut wire, &open()).unwrap();
        write_secrets(&mut wire, &secrets()).unwrap();
        let mut from = wire.as_slice();
        let request: Request = read_message(&mut from).unwrap();
        let Order::Open(order) = request.order else { panic!("not an order to open") };
        let secrets = read_secrets(&mut from, &order).unwrap();
        assert_eq!((order.new_size, order.wrapped_key), (Some(1 << 30), vec![1, 2, 3]));
        assert_eq!(order.anchor, Some(vec![4, 5]));
        assert_eq!((secrets.key.expose(), secrets.older_keys[0].expose()), (&[7; 32], &[8; 32]));
        assert_eq!((secrets.server_key.expose(), secrets.master_verifier.expose()), (&b"key"[..], &b""[..]));
        assert!(from.is_empty());
    }

    #[test]
    fn nothing_that_is_cut_short_is_taken() {
        let mut wire = Vec::new();
        write_message(&mut wire, &open()).unwrap();
        write_secrets(&mut wire, &secrets()).unwrap();
        for end in 0..wire.len() {
            let mut from = &wire[..end];
            let whole = read_message::<Request>(&mut from).and_then(|request| match request.order {
                Order::Open(order) => read_secrets(&mut from, &order),
                _ => unreachable!(),
            });
            assert!(whole.is_err(), "{end} bytes");
        }
    }

    #[test]
    fn garbage_and_what_is_too_long_are_refused_before_memory_is_taken_for_it() {
        let refused = |frame: &[u8]| read_message::<Request>(&mut &*frame).unwrap_err().kind();
        assert_eq!(refused(&[255, 255, 255, 255, 1]), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[1, 0, 16, 0, 1, b'{']), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[2, 0, 0, 0, 9, b'{', b'}']), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[2, 0, 0, 0, 2, b'{', b'}']), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[2, 0, 0, 0, 1, b'{', b'}']), io::ErrorKind::InvalidData);
        assert_eq!(refused(&[3, 0, 0, 0, 1, 0xff, 0xfe, 0]), io::ErrorKind::InvalidData);
        let mut wire = Vec::new();
        assert!(write_message(&mut wire, &"x".repeat(1 << 20)).is_err());
        let short_key = [3, 0, 0, 0, 2, 1, 2, 3];
        assert_eq!(read_key(&mut &short_key[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn an_unknown_order_is_an_error_and_an_unknown_field_is_not() {
        let frame = |json: &str| {
            let mut wire = Vec::new();
            write_frame(&mut wire, Kind::Message, json.as_bytes()).unwrap();
            read_message::<Request>(&mut wire.as_slice())
        };
        assert!(frame(r#"{"version":2,"order":"fly"}"#).is_err());
        // Of a server that knew of one key alone.
        let mut order = serde_json::to_value(open()).unwrap();
        order.as_object_mut().unwrap().remove("older_keys");
        let Order::Open(order) = frame(&order.to_string()).unwrap().order else {
            panic!("not an order to open")
        };
        assert_eq!(order.older_keys, 0);
        assert!(matches!(frame(r#"{"version":2,"order":"lock","why":1}"#).unwrap().order, Order::Lock));
    }

    #[test]
    fn a_request_shows_no_secret() {
        assert!(format!("{:?}", secrets()).contains("VolumeKey(redacted)"));
        assert!(!format!("{:?}", secrets()).contains("107"));
    }
}
