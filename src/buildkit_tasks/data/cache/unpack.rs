//! Unpacks the parts of a pack into staging directories, and validates every entry before writing it.
//!
//! ```text
//! unpack judge LIMIT PROFILE FILE                       judges one part, writes nothing
//! unpack write LIMIT FREE PROFILE PACK TREE REGISTRY GIT  unpacks the parts that lie in PACK
//! unpack mount LIMIT FREE PACK ROOT                     unpacks another tool's cache mount, a single part
//! unpack list ROOT                                      what such a part may contain: paths, each followed by a zero byte
//! ```
//! LIMIT and FREE are in bytes, and PROFILE is the name of cargo's directory for the profile. TREE is an empty
//! directory that nothing else uses; it receives `target`, `src` and `state`. REGISTRY and GIT are cargo's directories,
//! which other builds may be using: their parts are staged next to them, under a lock, and linked or renamed into place
//! once every part has been read to its end and is valid. Exit codes: 65 rejected, 74 disk full, 2 any other error.
//!
//! # What is trusted
//! Nothing: anyone who can push to the repository can create a pack. A part is a tar stream, read only here:
//! - Allowed entry types are directories, regular files, symbolic links and hard links (cargo hard-links build scripts).
//!   All other types are rejected, as are set-user-id bits, GNU's own long names and sparse files.
//! - Every path must be allowed for the part's kind ([`Kind::allows`]); names, depth, number of entries, number of
//!   directories and bytes are limited. A path longer than [`MAX_PATH`] in a mount would make `docker buildx du` fail for
//!   the whole engine.
//! - A symbolic link may only point inside its part ([`leads_out`]), a hard link only to a regular file that was
//!   already written.
//! - Nothing is written through a link: each parent is opened from the one above it, as a directory, without following
//!   links ([`Tree`]). Files are only created, never overwritten: a duplicate entry is rejected. This also holds for parts
//!   that are unpacked in parallel, so the order does not matter.
//!
//! Uses only `std` and libc, which `std` links anyway; compiled by the toolchain image's own rustc, 1.63 or newer.

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::raw::{c_char, c_int, c_long, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::io::{AsRawFd, FromRawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

/// Maximum length of a path in its part, of a name, and number of names in a path. cargo's stay below 300, 130 and 20.
const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 255;
const MAX_DEPTH: usize = 64;
/// Maximum number of entries and directories in all parts: a workspace of 374 packages has 9,000 and 2,500.
const MAX_ENTRIES: u64 = 500_000;
const MAX_DIRECTORIES: u64 = 100_000;
/// Maximum size of an extended header, which contains a path, a link's target and times.
const MAX_HEADER: u64 = 8192;
/// Maximum number of zeros after the end of an archive: GNU tar pads its last record.
const MAX_PADDING: u64 = 1 << 20;
const MAX_PARTS: usize = 32;
/// Bytes to keep free on the disk.
const RESERVE: u64 = 64 << 20;
/// Files of the compile program's state that a pack may contain, and the prefix of those named after a profile.
const STATE: [&str; 5] = ["tree", "env", "now", "synced", "pending"];
const STATE_BUILT: &str = "built-";

const BLOCK: usize = 512;
const STAGING: &str = ".incoming";

// ------------------------------------------------------------------------------------------------------------ failures

/// The reason why nothing was unpacked.
#[derive(Debug, PartialEq)]
enum Failure {
    /// The pack contains something that our packs never contain.
    Refused(String),
    /// The pack may be valid, but the disk is full or failed.
    NoRoom(String),
    /// Other errors, for example a missing decompressor.
    Broken(String),
    /// Another part failed, and its error is the one to report.
    Stopped,
}

type Outcome<T> = Result<T, Failure>;

fn refuse<T>(why: impl Into<String>) -> Outcome<T> {
    Err(Failure::Refused(why.into()))
}

/// An untrusted path, made safe to print: ASCII, limited length.
fn shown(path: &[u8]) -> String {
    let text = path[..path.len().min(120)].escape_ascii().to_string();
    if path.len() > 120 {
        format!("{text}… ({} bytes)", path.len())
    } else {
        text
    }
}

// ------------------------------------------------------------------------------------------ allowed contents of a part

/// The kind of a part; its file is called `KIND.tar.FORM` or `KIND-NUMBER.tar.FORM`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Crates as downloaded, and their index entries.
    Registry,
    /// Git dependencies.
    Git,
    /// What cargo built from packages outside the repository.
    Deps,
    /// The rest of the tree: objects, sources, state.
    Rest,
    /// The cache mount of another tool, such as npm or apt. Only this kind keeps the owners of files.
    Mount,
}

/// Allowed entry types.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Type {
    Directory,
    File,
    Symbolic,
    Hard,
}

impl Kind {
    /// The kind and whether zstd is needed, from the file name; None if the file is not a part.
    fn of(file: &str) -> Option<(Kind, bool)> {
        let (name, zstd) = match file.strip_suffix(".tar.zst") {
            Some(name) => (name, true),
            None => (file.strip_suffix(".tar.gz")?, false),
        };
        let kind = match name.split_once('-') {
            None => name,
            Some((kind, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => kind,
            Some(_) => return None,
        };
        let kind = match kind {
            "registry" => Kind::Registry,
            "git" => Kind::Git,
            "deps" => Kind::Deps,
            "rest" => Kind::Rest,
            "mount" => Kind::Mount,
            _ => return None,
        };
        Some((kind, zstd))
    }

    /// Whether an entry of this type is allowed at this path. `profile`: the name of cargo's directory for it.
    fn allows(self, path: &[&[u8]], what: Type, profile: &[u8]) -> bool {
        match self {
            Kind::Registry => what == Type::File && in_registry(path),
            Kind::Git => path.len() > 1 && (path[0] == b"db" || path[0] == b"checkouts"),
            Kind::Deps => {
                let units = if path[0] == profile { path } else { &path[1..] };
                units.len() > 1
                    && units[0] == profile
                    && [&b".fingerprint"[..], b"build", b"deps"].contains(&units[1])
                    && (units.len() > 2 || what == Type::Directory)
            }
            Kind::Rest => match path[0] {
                b"src" | b"target" => path.len() > 1 || what == Type::Directory,
                b"state" if path.len() == 1 => what == Type::Directory,
                b"state" => what == Type::File && path.len() == 2 && is_state(path[1]),
                _ => false,
            },
            Kind::Mount => !is_staging(path[0]),
        }
    }

    /// Whether a link may point there: to any allowed path of the part.
    fn allows_destination(self, path: &[&[u8]], profile: &[u8]) -> bool {
        !path.is_empty() && (self.allows(path, Type::Directory, profile) || self.allows(path, Type::File, profile))
    }
}

/// Whether this is the name of a directory that an unpack uses, in a mount.
fn is_staging(name: &[u8]) -> bool {
    name.starts_with(STAGING.as_bytes())
}

fn in_registry(path: &[&[u8]]) -> bool {
    match path {
        [b"cache", _, file] => file.len() > b".crate".len() && file.ends_with(b".crate"),
        [b"index", _, b"config.json"] => true,
        [b"index", _, b".cache", rest @ ..] => !rest.is_empty() && !rest[0].starts_with(b"."),
        _ => false,
    }
}

fn is_state(name: &[u8]) -> bool {
    let built = name.strip_prefix(STATE_BUILT.as_bytes());
    let profile = |name: &[u8]| !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
    STATE.iter().any(|known| known.as_bytes() == name) || built.map_or(false, profile)
}

/// The names in an untrusted path. Rejects paths that lead out, invalid names, and paths that are too long or too deep.
fn names(path: &[u8]) -> Outcome<Vec<&[u8]>> {
    if path.len() > MAX_PATH {
        return refuse(format!("a path longer than {MAX_PATH} bytes: {}", shown(path)));
    }
    if path.is_empty() {
        return refuse("an entry without a name");
    }
    let names: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
    if names.len() > MAX_DEPTH {
        return refuse(format!("a path deeper than {MAX_DEPTH} directories: {}", shown(path)));
    }
    for name in &names {
        if name.is_empty() || *name == b"." || *name == b".." {
            return refuse(format!("a path that leads outside: {}", shown(path)));
        }
        if name.len() > MAX_NAME {
            return refuse(format!("a name longer than {MAX_NAME} bytes: {}", shown(path)));
        }
        if name.iter().any(|b| b.is_ascii_control()) {
            return refuse(format!("a control character in a name: {}", shown(path)));
        }
    }
    Ok(names)
}

/// Whether a symbolic link leads out of its part. `..` is only allowed at the start: after a name, which may be a link
/// itself, the target cannot be determined from the text.
fn leads_out(kind: Kind, path: &[&[u8]], to: &[u8], profile: &[u8]) -> bool {
    if to.is_empty() || to.len() > MAX_PATH || to[0] == b'/' || to.iter().any(|b| b.is_ascii_control()) {
        return true;
    }
    let mut place = path[..path.len() - 1].to_vec();
    let mut behind_a_name = false;
    for name in to.split(|&b| b == b'/') {
        match name {
            b"" | b"." => {}
            b".." if behind_a_name || place.pop().is_none() => return true,
            b".." => {}
            _ => {
                behind_a_name = true;
                place.push(name);
            }
        }
    }
    place.len() > MAX_DEPTH || !kind.allows_destination(&place, profile)
}

// ----------------------------------------------------------------------------------------------------- reading a tar

/// One entry as described by the archive. `time`: seconds and nanoseconds since 1970.
#[derive(Debug, PartialEq)]
struct Entry {
    path: Vec<u8>,
    what: Type,
    mode: u32,
    size: u64,
    time: (i64, i64),
    link: Vec<u8>,
    owner: Owner,
}

/// The numbers of a user and a group.
type Owner = (u32, u32);

/// The fields of an extended header for the following entry.
#[derive(Debug, Default, PartialEq)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    time: Option<(i64, i64)>,
    user: Option<u32>,
    group: Option<u32>,
}

/// A tar stream in the pax format, as written by GNU tar's `--format=posix` and Python's tarfile.
/// <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html>
struct Archive<R> {
    input: R,
}

impl<R: BufRead> Archive<R> {
    /// The next entry; None at the end of the archive, which may only be followed by zeros.
    fn next(&mut self, count: &mut dyn FnMut() -> Outcome<()>) -> Outcome<Option<Entry>> {
        let mut extended: Option<Extended> = None;
        loop {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block == [0; BLOCK] {
                self.fill(&mut block)?;
                if extended.is_some() || block != [0; BLOCK] {
                    return refuse("damaged: its end is in the wrong place");
                }
                self.end()?;
                return Ok(None);
            }
            count()?;
            let head = header(&block)?;
            if block[156] != b'x' {
                return entry(&block, head, extended.unwrap_or_default()).map(Some);
            }
            if extended.is_some() || head.size > MAX_HEADER {
                return refuse(format!("a name or another attribute that is too long ({} bytes)", head.size));
            }
            let mut records = vec![0; head.size as usize];
            self.fill(&mut records)?;
            self.skip_padding(head.size)?;
            extended = Some(records_of(&records)?);
        }
    }

    /// Passes on the content of an entry, in pieces.
    fn content(&mut self, size: u64, sink: &mut dyn FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let mut left = size;
        while left > 0 {
            let piece = self.input.fill_buf().map_err(unreadable)?;
            if piece.is_empty() {
                return refuse("damaged: it ends too early");
            }
            let length = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(&piece[..length])?;
            self.input.consume(length);
            left -= length as u64;
        }
        self.skip_padding(size)
    }

    fn skip_padding(&mut self, size: u64) -> Outcome<()> {
        let mut rest = [0; BLOCK];
        let length = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        self.fill(&mut rest[..length])
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Outcome<()> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failure::Refused("damaged: it ends too early".into()),
            _ => unreadable(error),
        })
    }

    fn end(&mut self) -> Outcome<()> {
        let mut seen = 0;
        loop {
            let piece = self.input.fill_buf().map_err(unreadable)?;
            if piece.is_empty() {
                return Ok(());
            }
            seen += piece.len() as u64;
            if seen > MAX_PADDING || piece.iter().any(|&b| b != 0) {
                return refuse("data after its end");
            }
            let length = piece.len();
            self.input.consume(length);
        }
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::Broken(format!("could not be read: {error}"))
}

/// The fields of a header that are parsed before its type is known.
struct Head {
    mode: u32,
    size: u64,
    time: u64,
    owner: Owner,
}

/// Checks a header's checksum and format, and parses its numbers.
fn header(block: &[u8; BLOCK]) -> Outcome<Head> {
    if number(&block[148..156]) != Some(sum(block)) || &block[257..262] != b"ustar" {
        return refuse("damaged: an invalid header");
    }
    let id = |from: usize| number(&block[from..from + 8]).and_then(|n| u32::try_from(n).ok());
    match (number(&block[100..108]), id(108), id(116), number(&block[124..136]), number(&block[136..148])) {
        (Some(mode), Some(user), Some(group), Some(size), Some(time)) => {
            Ok(Head { mode: mode as u32, size, time, owner: (user, group) })
        }
        _ => refuse("damaged: a header without numbers"),
    }
}

/// The sum of a header's bytes, counting its own field as spaces. Adds eight bytes at a time, in 16-bit lanes: the program
/// is compiled without optimization, which would take longer than it saves.
fn sum(block: &[u8; BLOCK]) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let mut filled = *block;
    filled[148..156].fill(b' ');
    let mut lanes = 0;
    for eight in filled.chunks_exact(8) {
        let word = u64::from_ne_bytes(eight.try_into().expect("eight bytes"));
        lanes += (word & EVEN) + (word >> 8 & EVEN);
    }
    (0..4).map(|lane| lanes >> (16 * lane) & 0xffff).sum()
}

/// An octal number, padded with spaces or zero bytes. Not GNU's binary form: pax has another way to store large numbers.
fn number(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    let text = std::str::from_utf8(&field[..end]).ok()?.trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    if !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    u64::from_str_radix(text, 8).ok()
}

/// A field that ends with a zero byte or fills its space.
fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|&b| b == 0).unwrap_or(field.len())]
}

fn entry(block: &[u8; BLOCK], head: Head, extended: Extended) -> Outcome<Entry> {
    let plain = match text(&block[345..500]) {
        b"" => text(&block[..100]).to_vec(),
        prefix => [prefix, b"/", text(&block[..100])].concat(),
    };
    let mut path = extended.path.unwrap_or(plain);
    let what = match block[156] {
        b'0' | 0 => Type::File,
        b'1' => Type::Hard,
        b'2' => Type::Symbolic,
        b'5' => Type::Directory,
        b'3' | b'4' | b'6' => return refuse(format!("a device or another special file: {}", shown(&path))),
        other => return refuse(format!("an entry of type {:?}: {}", char::from(other), shown(&path))),
    };
    if what == Type::Directory && path.ends_with(b"/") {
        path.pop();
    }
    if head.mode & 0o6000 != 0 {
        return refuse(format!("set-user-id or set-group-id: {}", shown(&path)));
    }
    let size = extended.size.unwrap_or(head.size);
    if what != Type::File && size != 0 {
        return refuse(format!("unexpected content: {}", shown(&path)));
    }
    let link = extended.link.unwrap_or_else(|| text(&block[157..257]).to_vec());
    let time = extended.time.unwrap_or((head.time as i64, 0));
    let owner = (extended.user.unwrap_or(head.owner.0), extended.group.unwrap_or(head.owner.1));
    Ok(Entry { path, what, mode: head.mode & 0o777, size, time, link, owner })
}

/// The records `LENGTH KEY=VALUE\n` of an extended header.
fn records_of(mut bytes: &[u8]) -> Outcome<Extended> {
    let damaged = || Failure::Refused("damaged: an invalid extended header".into());
    let mut found = Extended::default();
    while !bytes.is_empty() {
        let space = bytes.iter().take(6).position(|&b| b == b' ').ok_or_else(damaged)?;
        let length: usize = decimal(&bytes[..space]).and_then(|n| usize::try_from(n).ok()).ok_or_else(damaged)?;
        if length < space + 3 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(damaged());
        }
        let record = &bytes[space + 1..length - 1];
        bytes = &bytes[length..];
        let equals = record.iter().position(|&b| b == b'=').ok_or_else(damaged)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if value.contains(&0) {
            return Err(damaged());
        }
        match key {
            b"path" => found.path = Some(value.to_vec()),
            b"linkpath" => found.link = Some(value.to_vec()),
            b"size" => found.size = Some(decimal(value).ok_or_else(damaged)?),
            b"mtime" => found.time = Some(time(value).ok_or_else(damaged)?),
            b"uid" => found.user = Some(decimal(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(damaged)?),
            b"gid" => found.group = Some(decimal(value).and_then(|n| u32::try_from(n).ok()).ok_or_else(damaged)?),
            b"atime" | b"ctime" | b"uname" | b"gname" => {}
            _ => return refuse(format!("an attribute that our packs never have: {}", shown(key))),
        }
    }
    Ok(found)
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `SECONDS` or `SECONDS.FRACTION`, with nine significant fraction digits.
fn time(value: &[u8]) -> Option<(i64, i64)> {
    let mut halves = value.splitn(2, |&b| b == b'.');
    let seconds = decimal(halves.next()?).filter(|&s| s < 1 << 40)?;
    let fraction = halves.next().unwrap_or(b"0");
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanoseconds = (0..9).fold(0, |sum, at| sum * 10 + fraction.get(at).map_or(0, |b| i64::from(b - b'0')));
    Some((seconds as i64, nanoseconds))
}

// ------------------------------------------------------------------------------------------------------------ limits

/// The total usage of all parts, and whether one of them has failed.
struct Budget {
    limit: u64,
    free: u64,
    bytes: AtomicU64,
    entries: AtomicU64,
    directories: AtomicU64,
    stop: AtomicBool,
}

impl Budget {
    fn new(limit: u64, free: u64) -> Budget {
        let zero = || AtomicU64::new(0);
        Budget { limit, free, bytes: zero(), entries: zero(), directories: zero(), stop: AtomicBool::new(false) }
    }

    fn entry(&self) -> Outcome<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Failure::Stopped);
        }
        take(&self.entries, 1, MAX_ENTRIES, "entries")
    }

    fn directory(&self) -> Outcome<()> {
        take(&self.directories, 1, MAX_DIRECTORIES, "directories")
    }

    /// Called before writing: a few compressed bytes can expand to more than any disk can store.
    fn bytes(&self, size: u64) -> Outcome<()> {
        // an overflow is over the limit, too
        take(&self.bytes, size.min(1 << 60), self.limit, "bytes")?;
        if self.bytes.load(Ordering::Relaxed) > self.free.saturating_sub(RESERVE) {
            let (takes, free) = (self.bytes.load(Ordering::Relaxed) / 1_000_000, self.free / 1_000_000);
            return Err(Failure::NoRoom(format!("the pack takes more than {takes} MB, {free} MB are free")));
        }
        Ok(())
    }
}

fn take(counter: &AtomicU64, more: u64, most: u64, what: &str) -> Outcome<()> {
    if counter.fetch_add(more, Ordering::Relaxed).saturating_add(more) > most {
        return refuse(format!("more than {most} {what}"));
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------- writing, and links

#[repr(C)]
struct Timespec {
    seconds: c_long,
    nanoseconds: c_long,
}

extern "C" {
    fn openat(directory: c_int, path: *const c_char, flags: c_int, ...) -> c_int;
    fn mkdirat(directory: c_int, path: *const c_char, mode: c_uint) -> c_int;
    fn symlinkat(to: *const c_char, directory: c_int, path: *const c_char) -> c_int;
    fn linkat(from: c_int, old: *const c_char, to: c_int, new: *const c_char, flags: c_int) -> c_int;
    fn futimens(file: c_int, times: *const Timespec) -> c_int;
    fn fchownat(directory: c_int, path: *const c_char, user: c_uint, group: c_uint, flags: c_int) -> c_int;
    fn flock(file: c_int, operation: c_int) -> c_int;
}

const O_WRONLY: c_int = 0o1;
const O_CREAT: c_int = 0o100;
const O_EXCL: c_int = 0o200;
const O_CLOEXEC: c_int = 0o2_000_000;
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64"))]
const O_DIRECTORY: c_int = 0o40_000;
#[cfg(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64"))]
const O_NOFOLLOW: c_int = 0o100_000;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64")))]
const O_DIRECTORY: c_int = 0o200_000;
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm", target_arch = "powerpc64")))]
const O_NOFOLLOW: c_int = 0o400_000;
const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
const LOCK_EX: c_int = 2;
const ENOTDIR: i32 = 20;
const ELOOP: i32 = 40;

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn checked(code: c_int) -> io::Result<c_int> {
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(code)
}

/// Opens a name in a directory, without following links.
fn open_at(directory: &File, name: &[u8], flags: c_int) -> io::Result<File> {
    let name = c_string(name)?;
    // SAFETY: the string outlives the call, and nobody else owns the descriptor.
    unsafe {
        let opened = openat(directory.as_raw_fd(), name.as_ptr(), flags | O_NOFOLLOW | O_CLOEXEC, 0o600 as c_uint);
        Ok(File::from_raw_fd(checked(opened)?))
    }
}

fn make_directory_at(directory: &File, name: &[u8]) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the string outlives the call.
    checked(unsafe { mkdirat(directory.as_raw_fd(), name.as_ptr(), 0o755) }).map(drop)
}

fn link_at(from: &File, old: &[u8], to: &File, new: &[u8]) -> io::Result<()> {
    let (old, new) = (c_string(old)?, c_string(new)?);
    // SAFETY: the strings outlive the call. Without flags, symbolic links are not followed.
    checked(unsafe { linkat(from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr(), 0) }).map(drop)
}

fn symbolic_link_at(to: &[u8], directory: &File, name: &[u8]) -> io::Result<()> {
    let (to, name) = (c_string(to)?, c_string(name)?);
    // SAFETY: the strings outlive the call.
    checked(unsafe { symlinkat(to.as_ptr(), directory.as_raw_fd(), name.as_ptr()) }).map(drop)
}

fn set_times(file: &File, time: (i64, i64)) -> io::Result<()> {
    let stamp = || Timespec { seconds: time.0 as c_long, nanoseconds: time.1 as c_long };
    // SAFETY: two values, as required by the call.
    checked(unsafe { futimens(file.as_raw_fd(), [stamp(), stamp()].as_ptr()) }).map(drop)
}

/// Changes the owner of a name in a directory; of a link itself, not of its target.
fn set_owner(directory: &File, name: &[u8], owner: Owner) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: the string outlives the call.
    let done = unsafe { fchownat(directory.as_raw_fd(), name.as_ptr(), owner.0, owner.1, AT_SYMLINK_NOFOLLOW) };
    checked(done).map(drop)
}

/// Waits for an exclusive lock on the file or directory; it is held until the file is dropped.
fn lock(file: File) -> io::Result<File> {
    loop {
        // SAFETY: an open descriptor.
        match checked(unsafe { flock(file.as_raw_fd(), LOCK_EX) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => return Ok(file),
        }
    }
}

/// A directory, with the open directories on the path of the last write.
struct Tree {
    root: File,
    open: Vec<(Vec<u8>, File)>,
}

impl Tree {
    fn new(root: &Path) -> io::Result<Tree> {
        Ok(Tree { root: File::open(root)?, open: Vec::new() })
    }

    /// The directory with these names, opened one by one and created if missing; calls `made` for each new one. Fails if a
    /// link or a file is on the path.
    fn directory(&mut self, names: &[&[u8]], made: &mut dyn FnMut() -> Outcome<()>) -> Outcome<&File> {
        let same = self.open.iter().zip(names).take_while(|(have, want)| have.0 == **want).count();
        self.open.truncate(same);
        for (at, name) in names.iter().enumerate().skip(same) {
            let above = self.open.last().map_or(&self.root, |(_, file)| file);
            match make_directory_at(above, name) {
                Ok(()) => made()?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(no_room(&error)),
            }
            let file = open_at(above, name, O_DIRECTORY).map_err(|error| match error.raw_os_error() {
                Some(ENOTDIR | ELOOP) => {
                    Failure::Refused(format!("a path through something that is not a directory: {}", shown(&names[..=at].join(&b'/'))))
                }
                _ => no_room(&error),
            })?;
            self.open.push((name.to_vec(), file));
        }
        Ok(self.open.last().map_or(&self.root, |(_, file)| file))
    }
}

fn no_room(error: &io::Error) -> Failure {
    Failure::NoRoom(error.to_string())
}

/// Writes validated entries.
struct Writer<'a> {
    tree: Tree,
    budget: &'a Budget,
    /// Directories in the part: their owners, modes and times are set after everything is written.
    directories: Vec<(Vec<u8>, u32, (i64, i64), Owner)>,
    /// Whether files keep their owners. Otherwise they belong to the user who unpacks.
    owners: bool,
}

impl Writer<'_> {
    fn directory(&mut self, entry: &Entry, path: &[&[u8]]) -> Outcome<()> {
        let budget = self.budget;
        self.tree.directory(path, &mut || budget.directory())?;
        self.directories.push((entry.path.clone(), entry.mode, entry.time, entry.owner));
        Ok(())
    }

    fn file(&mut self, entry: &Entry, path: &[&[u8]], archive: &mut Archive<impl BufRead>) -> Outcome<()> {
        let (budget, owners) = (self.budget, self.owners);
        let (parent, name) = self.place(path)?;
        let mut file = open_at(parent, name, O_WRONLY | O_CREAT | O_EXCL).map_err(|error| twice(&error, &entry.path))?;
        archive.content(entry.size, &mut |piece| {
            if budget.stop.load(Ordering::Relaxed) {
                return Err(Failure::Stopped);
            }
            file.write_all(piece).map_err(|error| no_room(&error))
        })?;
        if owners {
            set_owner(parent, name, entry.owner).map_err(|error| no_room(&error))?;
        }
        let sealed = file.set_permissions(fs::Permissions::from_mode(entry.mode));
        sealed.and_then(|()| set_times(&file, entry.time)).map_err(|error| no_room(&error))
    }

    fn symbolic(&mut self, entry: &Entry, path: &[&[u8]]) -> Outcome<()> {
        let owners = self.owners;
        let (parent, name) = self.place(path)?;
        symbolic_link_at(&entry.link, parent, name).map_err(|error| twice(&error, &entry.path))?;
        if owners {
            set_owner(parent, name, entry.owner).map_err(|error| no_room(&error))?;
        }
        Ok(())
    }

    /// Only to an existing regular file, which was validated, written and closed.
    fn hard(&mut self, entry: &Entry, path: &[&[u8]], to: &[&[u8]]) -> Outcome<()> {
        let nothing = || Failure::Refused(format!("a hard link to a missing file: {}", shown(&entry.path)));
        let (place, old) = self.place(to)?;
        let from = place.try_clone().map_err(|error| no_room(&error))?;
        let there = open_at(&from, old, 0).and_then(|file| file.metadata()).map_err(|_| nothing())?;
        if !there.is_file() {
            return Err(nothing());
        }
        let (parent, name) = self.place(path)?;
        link_at(&from, old, parent, name).map_err(|error| twice(&error, &entry.path))
    }

    fn place<'p>(&mut self, path: &[&'p [u8]]) -> Outcome<(&File, &'p [u8])> {
        let budget = self.budget;
        let (name, parents) = path.split_last().expect("a path has a name");
        Ok((self.tree.directory(parents, &mut || budget.directory())?, name))
    }

    /// Sets owners, modes and times of directories, deepest first: writing children changes the parent's time.
    fn finish(mut self) -> Outcome<()> {
        let mut directories = std::mem::take(&mut self.directories);
        directories.sort_unstable();
        if let Some(pair) = directories.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return refuse(format!("twice: {}", shown(&pair[0].0)));
        }
        for (path, mode, time, owner) in directories.iter().rev() {
            let names: Vec<&[u8]> = path.split(|&b| b == b'/').collect();
            if self.owners {
                let (parent, name) = self.place(&names)?;
                set_owner(parent, name, *owner).map_err(|error| no_room(&error))?;
            }
            let directory = self.tree.directory(&names, &mut || Ok(()))?;
            let sealed = directory.set_permissions(fs::Permissions::from_mode(*mode));
            sealed.and_then(|()| set_times(directory, *time)).map_err(|error| no_room(&error))?;
        }
        Ok(())
    }
}

fn twice(error: &io::Error, path: &[u8]) -> Failure {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::Refused(format!("twice: {}", shown(path))),
        _ => no_room(error),
    }
}

/// Reads a part to its end; validates every entry, then writes it if there is a writer.
fn unpack(
    input: impl BufRead,
    kind: Kind,
    profile: &[u8],
    budget: &Budget,
    mut writer: Option<&mut Writer>,
) -> Outcome<()> {
    let mut archive = Archive { input };
    while let Some(entry) = archive.next(&mut || budget.entry())? {
        let path = names(&entry.path)?;
        if !kind.allows(&path, entry.what, profile) {
            return refuse(format!("not allowed in this part: {}", shown(&entry.path)));
        }
        let mut to = Vec::new();
        match entry.what {
            Type::Symbolic if leads_out(kind, &path, &entry.link, profile) => {
                return refuse(format!("a link that leads outside: {}", shown(&entry.path)));
            }
            Type::Hard => {
                to = names(&entry.link)?;
                if !kind.allows(&to, Type::File, profile) {
                    return refuse(format!("a link that leads outside: {}", shown(&entry.path)));
                }
            }
            _ => {}
        }
        budget.bytes(entry.size)?;
        match (&mut writer, entry.what) {
            (Some(writer), Type::Directory) => writer.directory(&entry, &path)?,
            (Some(writer), Type::File) => writer.file(&entry, &path, &mut archive)?,
            (Some(writer), Type::Symbolic) => writer.symbolic(&entry, &path)?,
            (Some(writer), Type::Hard) => writer.hard(&entry, &path, &to)?,
            (None, Type::Directory) => budget.directory()?,
            (None, _) => archive.content(entry.size, &mut |_| Ok(()))?,
        }
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------------- parts

/// A part's file.
#[derive(Clone)]
struct Part {
    file: PathBuf,
    kind: Kind,
    zstd: bool,
}

impl Part {
    fn at(file: &Path) -> Option<Part> {
        let (kind, zstd) = Kind::of(file.file_name()?.to_str()?)?;
        // do not follow a link or block on a special file
        fs::symlink_metadata(file).ok()?.is_file().then(|| Part { file: file.to_path_buf(), kind, zstd })
    }

    fn name(&self) -> std::borrow::Cow<'_, str> {
        self.file.file_name().unwrap_or_else(|| OsStr::new("")).to_string_lossy()
    }

    /// Starts the decompressor. zstd may use the window that packs are created with, 32 MB, and little more.
    fn expand(&self) -> Outcome<Child> {
        let (program, args): (_, &[&str]) =
            if self.zstd { ("zstd", &["-q", "-d", "-c", "--memory=64MB"]) } else { ("gzip", &["-d", "-c"]) };
        let input = File::open(&self.file).map_err(unreadable)?;
        let child = Command::new(program).args(args).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        child.map_err(|error| Failure::Broken(format!("{program}: {error}")))
    }

    /// Unpacks or validates this part; errors include the part's name.
    fn read(&self, profile: &[u8], budget: &Budget, writer: Option<&mut Writer>) -> Outcome<()> {
        let mut child = self.expand()?;
        let output = child.stdout.take().expect("piped");
        let done = unpack(BufReader::with_capacity(1 << 18, output), self.kind, profile, budget, writer);
        if done.is_err() {
            let _ = child.kill();
        }
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(500).read_to_string(&mut said);
        }
        let ended = child.wait().map_err(unreadable)?;
        let done = match done {
            // the decompressor has detected a wrong checksum or a truncated part
            Ok(()) if !ended.success() => refuse(format!("damaged: {}", shown(said.trim().as_bytes()))),
            done => done,
        };
        done.map_err(|failure| match failure {
            Failure::Refused(why) => Failure::Refused(format!("{}: {why}", self.name())),
            Failure::NoRoom(why) if !why.starts_with("the pack takes") => {
                Failure::NoRoom(format!("could not unpack {}: {why}", self.name()))
            }
            Failure::Broken(why) => Failure::Broken(format!("{}: {why}", self.name())),
            other => other,
        })
    }
}

/// The parts of a pack; ignores its other files.
fn parts(pack: &Path) -> Outcome<Vec<Part>> {
    let listed = fs::read_dir(pack).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable)?;
    let mut found: Vec<Part> = listed.iter().filter_map(|entry| Part::at(&entry.path())).collect();
    found.sort_by(|a, b| a.file.cmp(&b.file));
    if found.len() > MAX_PARTS {
        return refuse(format!("more than {MAX_PARTS} parts"));
    }
    Ok(found)
}

/// The staging directory of each kind.
struct Staging {
    tree: PathBuf,
    registry: PathBuf,
    git: PathBuf,
}

impl Staging {
    fn root(&self, kind: Kind) -> PathBuf {
        match kind {
            Kind::Registry => self.registry.clone(),
            Kind::Git => self.git.clone(),
            Kind::Deps => self.tree.join("target"),
            Kind::Rest | Kind::Mount => self.tree.clone(),
        }
    }
}

/// Unpacks all parts into their staging directories, in parallel on all cores.
fn write_all(parts: &[Part], profile: &[u8], budget: &Budget, staging: &Staging) -> Outcome<()> {
    let queue = Mutex::new(parts.iter());
    let first: Mutex<Option<Failure>> = Mutex::new(None);
    let directories = Mutex::new(Vec::new());
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get().max(2)).min(parts.len());
    let work = || loop {
        let part = match queue.lock().expect("no panic").next() {
            Some(part) => part,
            None => return,
        };
        let done = Tree::new(&staging.root(part.kind)).map_err(|error| no_room(&error)).and_then(|tree| {
            let mut writer = Writer { tree, budget, directories: Vec::new(), owners: part.kind == Kind::Mount };
            part.read(profile, budget, Some(&mut writer))?;
            directories.lock().expect("no panic").push(writer);
            Ok(())
        });
        if let Err(failure) = done {
            budget.stop.store(true, Ordering::Relaxed);
            let mut first = first.lock().expect("no panic");
            if failure != Failure::Stopped && first.is_none() {
                *first = Some(failure);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    if let Some(failure) = first.into_inner().expect("no panic") {
        return Err(failure);
    }
    directories.into_inner().expect("no panic").into_iter().try_for_each(Writer::finish)
}

// ------------------------------------------------------------------------------------------------- into cargo's own

/// Removes leftovers of a killed unpack. Requires the lock.
fn remove_stale(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(STAGING.as_bytes()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Links every staged file to its destination unless it exists, because existing files may be in use. Skips directories
/// that are links.
fn link_into_registry(staged: &Path, registry: &Path) -> io::Result<()> {
    let mut tree = Tree::new(registry)?;
    let mut todo = vec![Vec::new()];
    while let Some(names) = todo.pop() {
        let place: PathBuf = std::iter::once(staged.as_os_str()).chain(names.iter().map(|n: &Vec<u8>| OsStr::from_bytes(n))).collect();
        let from = File::open(&place)?;
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                let mut below: Vec<Vec<u8>> = names.clone();
                below.push(name.as_bytes().to_vec());
                todo.push(below);
                continue;
            }
            let parents: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
            let to = match tree.directory(&parents, &mut || Ok(())) {
                Ok(to) => to,
                Err(_) => break,
            };
            match link_at(&from, name.as_bytes(), to, name.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Renames whole repositories to their destinations unless these exist.
fn move_into_git(staged: &Path, git: &Path) -> io::Result<()> {
    for kind in ["db", "checkouts"] {
        if !staged.join(kind).is_dir() {
            continue;
        }
        fs::create_dir_all(git.join(kind))?;
        for entry in fs::read_dir(staged.join(kind))? {
            let entry = entry?;
            let to = git.join(kind).join(entry.file_name());
            if fs::symlink_metadata(&to).is_err() {
                fs::rename(entry.path(), to)?;
            }
        }
    }
    Ok(())
}

/// cargo's own lock for downloads. The Dockerfile keeps it in the registry mount, for builds in other containers.
fn cargo_lock(registry: &Path) -> io::Result<File> {
    let path = registry.join(".package-cache");
    lock(fs::OpenOptions::new().write(true).create(true).custom_flags(O_NOFOLLOW).open(path)?)
}

/// Everything: stage all parts under the lock of the registry's directory, then move them into place.
fn write(pack: &Path, profile: &[u8], budget: &Budget, tree: &Path, registry: &Path, git: &Path) -> Outcome<()> {
    let parts = parts(pack)?;
    only(&parts, |kind| kind != Kind::Mount)?;
    for place in [registry, git, &tree.join("target")] {
        fs::create_dir_all(place).map_err(|error| no_room(&error))?;
    }
    // Pulls for other platforms may use the same registry at the same time; only one may stage and clean up here.
    let held = File::open(registry).and_then(lock).map_err(|error| no_room(&error))?;
    remove_stale(registry);
    remove_stale(git);
    let name = format!("{STAGING}-{}", std::process::id());
    let staging = Staging { tree: tree.into(), registry: registry.join(&name), git: git.join(&name) };
    let done = [&staging.registry, &staging.git]
        .into_iter()
        .try_for_each(fs::create_dir)
        .map_err(|error| no_room(&error))
        .and_then(|()| write_all(&parts, profile, budget, &staging))
        .and_then(|()| {
            if !parts.iter().any(|part| matches!(part.kind, Kind::Registry | Kind::Git)) {
                return Ok(());
            }
            cargo_lock(registry)
                .and_then(|_lock| {
                    link_into_registry(&staging.registry, registry)?;
                    move_into_git(&staging.git, git)
                })
                .map_err(|error| no_room(&error))
        });
    let _ = fs::remove_dir_all(&staging.registry);
    let _ = fs::remove_dir_all(&staging.git);
    drop(held);
    done
}

/// Rejects a pack that has parts of another kind.
fn only(parts: &[Part], wanted: impl Fn(Kind) -> bool) -> Outcome<()> {
    match parts.iter().find(|part| !wanted(part.kind)) {
        Some(part) => refuse(format!("not allowed in this pack: {}", part.name())),
        None => Ok(()),
    }
}

// ----------------------------------------------------------------------------------------- cache mounts of other tools

/// Unpacks the mount of another tool into an empty directory.
fn write_mount(pack: &Path, budget: &Budget, root: &Path) -> Outcome<()> {
    let parts = parts(pack)?;
    only(&parts, |kind| kind == Kind::Mount)?;
    if parts.len() != 1 {
        return refuse(format!("{} parts instead of one", parts.len()));
    }
    let nowhere = Staging { tree: root.into(), registry: PathBuf::new(), git: PathBuf::new() };
    write_all(&parts, b"", budget, &nowhere)
}

/// Credentials that package managers keep in the top directories of their caches. Further down, files with these names
/// belong to packages.
const CREDENTIALS: [&str; 8] =
    [".npmrc", ".yarnrc", ".yarnrc.yml", ".netrc", ".pypirc", ".git-credentials", "credentials", "credentials.toml"];
const CREDENTIALS_DEPTH: usize = 2;

/// Prints the paths in a mount that a pack may contain, sorted, and reports the others. Uses the rules of `unpack`, so
/// that a pull never rejects what a push has sent.
fn list(root: &Path, out: &mut dyn Write) -> Outcome<()> {
    let mut left_out: Vec<String> = Vec::new();
    let mut todo: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(above) = todo.pop() {
        let listed = fs::read_dir(root.join(OsStr::from_bytes(&above))).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut below = Vec::new();
        for entry in listed.map_err(unreadable)? {
            let name = entry.file_name();
            let path = if above.is_empty() { name.as_bytes().to_vec() } else { [&above[..], b"/", name.as_bytes()].concat() };
            match type_of(root, &path) {
                Ok(None) => continue,
                Ok(Some(what)) => below.push((path, what)),
                Err(Failure::Refused(why)) => left_out.push(why),
                Err(other) => return Err(other),
            }
        }
        below.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        for (path, _) in below.iter().rev() {
            out.write_all(path).and_then(|()| out.write_all(b"\0")).map_err(|error| no_room(&error))?;
        }
        todo.extend(below.into_iter().filter(|(_, what)| *what == Type::Directory).map(|(path, _)| path));
    }
    left_out.sort_unstable();
    for why in left_out.iter().take(5) {
        eprintln!("buildkit-tasks: left out {why}");
    }
    if left_out.len() > 5 {
        eprintln!("buildkit-tasks: left out {} more", left_out.len() - 5);
    }
    Ok(())
}

/// The type of an entry that a pack may contain; None for an entry of another unpack. Refuses all others.
fn type_of(root: &Path, path: &[u8]) -> Outcome<Option<Type>> {
    let place = root.join(OsStr::from_bytes(path));
    let names = names(path)?;
    if is_staging(names[0]) {
        return Ok(None);
    }
    let about = fs::symlink_metadata(&place).map_err(unreadable)?;
    let credentials = |name: &[u8]| CREDENTIALS.iter().any(|known| known.as_bytes() == name);
    if about.is_dir() || about.is_file() {
        if about.permissions().mode() & 0o6000 != 0 {
            return refuse(format!("{}: set-user-id or set-group-id", shown(path)));
        }
        if names.len() <= CREDENTIALS_DEPTH && credentials(names[names.len() - 1]) {
            return refuse(format!("{}: it may contain credentials", shown(path)));
        }
        return Ok(Some(if about.is_dir() { Type::Directory } else { Type::File }));
    }
    if !about.file_type().is_symlink() {
        return refuse(format!("{}: a special file", shown(path)));
    }
    let to = fs::read_link(&place).map_err(unreadable)?;
    if leads_out(Kind::Mount, &names, to.as_os_str().as_bytes(), b"") {
        return refuse(format!("{}: a link that leads outside", shown(path)));
    }
    Ok(Some(Type::Symbolic))
}

fn main() {
    let args: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let amount = |at: usize| args.get(at).and_then(|a| decimal(a.as_bytes()));
    let done = match (args.first().and_then(|a| a.to_str()), args.len(), amount(1), amount(2)) {
        (Some("judge"), 4, Some(limit), _) => {
            let budget = Budget::new(limit, u64::MAX);
            let file = Path::new(&args[3]);
            match Part::at(file) {
                Some(part) => part.read(args[2].as_bytes(), &budget, None).map(|()| budget),
                None => Err(Failure::Broken(format!("{} is not a part", file.display()))),
            }
        }
        (Some("write"), 8, Some(limit), Some(free)) => {
            let budget = Budget::new(limit, free);
            let place = |at: usize| Path::new(&args[at]);
            write(place(4), args[3].as_bytes(), &budget, place(5), place(6), place(7)).map(|()| budget)
        }
        (Some("mount"), 5, Some(limit), Some(free)) => {
            let budget = Budget::new(limit, free);
            write_mount(Path::new(&args[3]), &budget, Path::new(&args[4])).map(|()| budget)
        }
        (Some("list"), 2, _, _) => {
            let mut out = io::BufWriter::new(io::stdout());
            match list(Path::new(&args[1]), &mut out).and_then(|()| out.flush().map_err(|error| no_room(&error))) {
                Ok(()) => std::process::exit(0),
                Err(failure) => Err(failure),
            }
        }
        _ => Err(Failure::Broken("usage: see the head of unpack.rs".into())),
    };
    let code = match done {
        Ok(budget) => {
            println!("{}", budget.bytes.load(Ordering::Relaxed));
            0
        }
        Err(Failure::Refused(why)) => {
            eprintln!("buildkit-tasks: refused: {why}");
            65
        }
        Err(Failure::NoRoom(why)) => {
            let known = ["the pack takes", "could not unpack"].iter().any(|start| why.starts_with(start));
            eprintln!("buildkit-tasks: error: {}{why}", if known { "" } else { "could not unpack: " });
            74
        }
        Err(Failure::Broken(why)) => {
            eprintln!("buildkit-tasks: error: {why}");
            2
        }
        Err(Failure::Stopped) => 2,
    };
    std::process::exit(code);
}

// ------------------------------------------------------------------------------------------------------------- tests

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// An entry with its content, as written by tar.
    fn packed(path: &str, what: u8, mode: u32, link: &str, content: &[u8]) -> Vec<u8> {
        let mut block = [0; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        block[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[136..147].copy_from_slice(b"00000000007");
        block[156] = what;
        block[157..157 + link.len()].copy_from_slice(link.as_bytes());
        block[257..263].copy_from_slice(b"ustar\0");
        let sum = sum(&block);
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut all = [&block[..], content].concat();
        all.resize(all.len() + (BLOCK - content.len() % BLOCK) % BLOCK, 0);
        all
    }

    fn file(path: &str) -> Vec<u8> {
        packed(path, b'0', 0o644, "", b"x")
    }

    fn end() -> Vec<u8> {
        vec![0; 2 * BLOCK]
    }

    fn scratch(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("unpack-test-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        place
    }

    fn run(kind: Kind, entries: &[Vec<u8>], root: Option<&Path>) -> Outcome<()> {
        let budget = Budget::new(1 << 20, u64::MAX);
        let bytes = [entries.concat(), end()].concat();
        match root {
            None => unpack(&bytes[..], kind, b"release", &budget, None),
            Some(root) => {
                let mut writer = Writer { tree: Tree::new(root).unwrap(), budget: &budget, directories: Vec::new(), owners: kind == Kind::Mount };
                unpack(&bytes[..], kind, b"release", &budget, Some(&mut writer))?;
                writer.finish()
            }
        }
    }

    fn why(done: Outcome<()>) -> String {
        match done {
            Err(Failure::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places_of_each_kind() {
        let allowed = |kind: Kind, path: &str, what| kind.allows(&names(path.as_bytes()).unwrap(), what, b"release");
        for (kind, path, what, expected) in [
            (Kind::Registry, "cache/i/a-1.0.0.crate", Type::File, true),
            (Kind::Registry, "cache/i/.crate", Type::File, false),
            (Kind::Registry, "cache/i/a-1.0.0.crate", Type::Symbolic, false),
            (Kind::Registry, "cache/i", Type::Directory, false),
            (Kind::Registry, "index/i/config.json", Type::File, true),
            (Kind::Registry, "index/i/.cache/se/rd/serde", Type::File, true),
            (Kind::Registry, "index/i/.cache/.x", Type::File, false),
            (Kind::Registry, "credentials.toml", Type::File, false),
            (Kind::Git, "db/a/config", Type::File, true),
            (Kind::Git, "db", Type::Directory, false),
            (Kind::Git, "config", Type::File, false),
            (Kind::Deps, "release/deps/x", Type::File, true),
            (Kind::Deps, "release/deps", Type::Directory, true),
            (Kind::Deps, "release/deps", Type::Symbolic, false),
            (Kind::Deps, "aarch64-unknown-linux-gnu/release/build/x/out", Type::Directory, true),
            (Kind::Deps, "a/b/release/deps/x", Type::File, false),
            (Kind::Deps, "debug/deps/x", Type::File, false),
            (Kind::Deps, "release", Type::Directory, false),
            (Kind::Rest, "src", Type::Directory, true),
            (Kind::Rest, "src", Type::Symbolic, false),
            (Kind::Rest, "src/a -> b", Type::Symbolic, true),
            (Kind::Rest, "state/tree", Type::File, true),
            (Kind::Rest, "state/built-release", Type::File, true),
            (Kind::Rest, "state/built-", Type::File, false),
            (Kind::Rest, "state/tree", Type::Directory, false),
            (Kind::Rest, "state/tree", Type::Symbolic, false),
            (Kind::Rest, "state/messages", Type::File, false),
            (Kind::Rest, "state/tree/x", Type::File, false),
            (Kind::Rest, "evil/x", Type::File, false),
            (Kind::Mount, "_cacache/index-v5/ab/x", Type::File, true),
            (Kind::Mount, ".incoming-1/x", Type::File, false),
        ] {
            assert_eq!(allowed(kind, path, what), expected, "{kind:?} {path} {what:?}");
        }
    }

    #[test]
    fn paths_that_are_refused() {
        let deep = "d/".repeat(MAX_DEPTH) + "x";
        let long = format!("{0}/{0}/{0}/{0}/{0}", "x".repeat(240));
        let wide = "x".repeat(256);
        for path in ["", "/a", "a/", "a//b", "./a", "a/..", "../a", "a/./b", "a\nb", "a\x7fb", &deep, &long, &wide] {
            assert!(names(path.as_bytes()).is_err(), "{path:?}");
        }
        assert_eq!(names(b"a -> b/'\"\\/\xff").unwrap().len(), 3);
    }

    #[test]
    fn links_stay_in_their_part() {
        let leads = |path: &str, to: &str| leads_out(Kind::Rest, &names(path.as_bytes()).unwrap(), to.as_bytes(), b"release");
        for to in ["y", "../a/y", "../../../target/release/x", "./y", "b/c/d/e", "../../../state/tree"] {
            assert!(!leads("src/a/b/x", to), "{to}");
        }
        for to in ["", "/etc", "../../../../etc", "y/../z", "../../..", "../../../evil", "a\nb", "../../../state/x"] {
            assert!(leads("src/a/b/x", to), "{to}");
        }
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"  644 \0 "), Some(0o644));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x01"), None);
        assert_eq!(number(b"-1\0"), None);
        assert_eq!(time(b"1700000000.123456789"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(time(b"1700000000.5"), Some((1_700_000_000, 500_000_000)));
        assert_eq!(time(b"1"), Some((1, 0)));
        for odd in [&b"-1"[..], b"1.", b".5", b"1e9", b"", b"99999999999999"] {
            assert_eq!(time(odd), None);
        }
    }

    #[test]
    fn extended_headers() {
        let found = records_of(b"10 path=a\n13 mtime=1.5\n9 uid=10\n").unwrap();
        assert_eq!((found.path, found.time), (Some(b"a".to_vec()), Some((1, 500_000_000))));
        for odd in [&b"10 path=a"[..], b"99 path=a\n", b"10 patha=\n ", b"x path=a\n", b"22 GNU.sparse.major=1\n", b"3 \n", b"10 path=\0\n"] {
            assert!(records_of(odd).is_err(), "{}", odd.escape_ascii());
        }
    }

    #[test]
    fn every_other_type_is_refused() {
        for what in (0..=255).filter(|b| !b"\x000125x".contains(b)) {
            let said = why(run(Kind::Rest, &[packed("src/x", what, 0o644, "", b"")], None));
            assert!(said.contains("special file") || said.contains("an entry of type"), "{said}");
        }
        assert!(why(run(Kind::Rest, &[packed("src/x", b'0', 0o4755, "", b"")], None)).contains("set-user-id"));
        assert!(why(run(Kind::Rest, &[packed("src/x", b'5', 0o755, "", b"x")], None)).contains("unexpected content"));
    }

    #[test]
    fn damaged_archives() {
        let whole = [file("src/a"), end()].concat();
        let judged = |bytes: &[u8]| unpack(bytes, Kind::Rest, b"release", &Budget::new(99, u64::MAX), None);
        assert_eq!(judged(&whole), Ok(()));
        for length in (0..whole.len()).step_by(256) {
            assert!(why(judged(&whole[..length])).contains("damaged"), "{length}");
        }
        let mut flipped = whole.clone();
        flipped[3] ^= 1;
        assert!(why(judged(&flipped)).contains("damaged"));
        assert!(why(judged(&[whole.clone(), b"x".to_vec()].concat())).contains("data after its end"));
        assert!(why(judged(&[whole, vec![0; 2 << 20]].concat())).contains("data after its end"));
        assert!(why(judged(&packed("src/a", b'0', 0o644, "", &[0; 100]))).contains("more than 99 bytes"));
    }

    #[test]
    fn nothing_is_written_through_a_link_or_twice() {
        let root = scratch("through");
        let link = packed("src/l", b'2', 0o777, "a", b"");
        assert!(why(run(Kind::Rest, &[file("src/a/b"), link.clone(), file("src/l/c")], Some(&root))).contains("not a directory"));
        // the file was created by another part
        assert!(why(run(Kind::Rest, &[file("src/l/d")], Some(&root))).contains("not a directory"));
        assert!(why(run(Kind::Rest, &[file("src/a/b/c")], Some(&root))).contains("not a directory"));
        for entry in [file("src/a/b"), file("src/l"), link, packed("src/a/b", b'1', 0o644, "src/a/b", b"")] {
            assert!(why(run(Kind::Rest, &[entry], Some(&root))).contains("twice"));
        }
        let directory = packed("src/e", b'5', 0o755, "", b"");
        assert!(why(run(Kind::Rest, &[directory.clone(), directory], Some(&root))).contains("twice"));
        assert_eq!(fs::read_dir(root.join("src/a")).unwrap().count(), 1);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn hard_links_lead_to_files_that_are_there() {
        let root = scratch("hard");
        let hard = |to: &str| packed("src/h", b'1', 0o644, to, b"");
        assert!(why(run(Kind::Rest, &[hard("src/no")], Some(&root))).contains("hard link to a missing file"));
        let soft = packed("src/s", b'2', 0o777, "a", b"");
        assert!(why(run(Kind::Rest, &[file("src/a"), soft, hard("src/s")], Some(&root))).contains("hard link to a missing file"));
        assert!(why(run(Kind::Rest, &[hard("../x")], Some(&root))).contains("leads out"));
        assert_eq!(run(Kind::Rest, &[hard("src/a")], Some(&root)), Ok(()));
        assert_eq!(fs::metadata(root.join("src/h")).unwrap().nlink(), 2);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn modes_and_times_are_kept() {
        let root = scratch("times");
        let entries = [packed("src/d", b'5', 0o750, "", b""), packed("src/d/f", b'0', 0o751, "", b"hello")];
        assert_eq!(run(Kind::Rest, &entries, Some(&root)), Ok(()));
        for (path, mode) in [("src/d", 0o750), ("src/d/f", 0o751)] {
            let there = fs::metadata(root.join(path)).unwrap();
            assert_eq!((there.mode() & 0o7777, there.mtime()), (mode, 7), "{path}");
        }
        assert_eq!(fs::read(root.join("src/d/f")).unwrap(), b"hello");
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_listed_is_what_an_unpack_accepts() {
        let root = scratch("list");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(root.join(".incoming-3")).unwrap();
        for name in ["a/x", "a/b/y", "z", ".npmrc", "a/b/.npmrc", "new\nline"] {
            fs::write(root.join(name), "x").unwrap();
        }
        fs::write(root.join("suid"), "x").unwrap();
        fs::set_permissions(root.join("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
        for (name, to) in [("a/in", "b/y"), ("a/up", "../z"), ("out", "/etc/passwd"), ("a/b/far", "../../../x")] {
            std::os::unix::fs::symlink(to, root.join(name)).unwrap();
        }
        let mut found = Vec::new();
        list(&root, &mut found).unwrap();
        let paths: Vec<_> = found.split(|&b| b == 0).map(|p| String::from_utf8_lossy(p).into_owned()).collect();
        assert_eq!(paths, ["a", "z", "a/b", "a/in", "a/up", "a/x", "a/b/.npmrc", "a/b/y", ""]);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn only_a_mount_keeps_owners() {
        let read = |bytes: &[u8]| {
            let mut archive = Archive { input: bytes };
            archive.next(&mut || Ok(())).unwrap().unwrap().owner
        };
        let mut block: [u8; BLOCK] = packed("x", b'0', 0o644, "", b"")[..BLOCK].try_into().unwrap();
        block[108..115].copy_from_slice(b"0001750");
        block[116..123].copy_from_slice(b"0000052");
        block[148..156].fill(b' ');
        let sum = sum(&block);
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        assert_eq!(read(&block), (1000, 42));
        let records = b"15 uid=3000000\n";
        assert_eq!(records_of(records).unwrap().user, Some(3_000_000));
        assert!(records_of(b"18 uid=4294967296\n").is_err());
        for (kind, refused) in [(Kind::Mount, true), (Kind::Rest, false)] {
            let part = Part { file: "part".into(), kind, zstd: false };
            assert_eq!(only(&[part], |kind| kind != Kind::Mount).is_err(), refused);
        }
    }

    #[test]
    fn too_many_are_refused() {
        let budget = Budget::new(10, u64::MAX);
        assert_eq!((0..=MAX_DIRECTORIES).find(|_| budget.directory().is_err()), Some(MAX_DIRECTORIES));
        assert_eq!((0..=MAX_ENTRIES).find(|_| budget.entry().is_err()), Some(MAX_ENTRIES));
        assert_eq!(budget.bytes(10), Ok(()));
        assert_eq!(budget.bytes(u64::MAX), refuse("more than 10 bytes"));
        assert!(matches!(Budget::new(10, RESERVE).bytes(1), Err(Failure::NoRoom(_))));
    }

    #[test]
    fn files_are_told_by_name() {
        assert_eq!(Kind::of("deps-12.tar.zst"), Some((Kind::Deps, true)));
        assert_eq!(Kind::of("rest.tar.gz"), Some((Kind::Rest, false)));
        for odd in ["deps-.tar.gz", "deps-x.tar.gz", "evil.tar.gz", "rest.tar", "rest.tar.xz"] {
            assert_eq!(Kind::of(odd), None);
        }
    }
}
