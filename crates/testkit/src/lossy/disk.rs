//! The disk: files and directories, the power, and what goes wrong. Operations are done one after the other.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::{OsStr, OsString},
    fs::File,
    io,
    path::PathBuf,
    time::Duration,
};

use super::{
    content::{Content, Loss},
    directories::{Directories, Inode, ROOT, Write},
    faults::{Effect, Faults, Operation},
};
use crate::Random;

/// Operations of which the record is kept.
const RECENT: usize = 4000;

#[derive(Debug)]
pub struct Node {
    /// Nothing: a directory, or a name in the file system only (a socket).
    pub content: Option<Content>,
    /// Type and permissions, as `stat` has them.
    pub mode: u32,
    pub owner: (u32, u32),
    pub links: u32,
    opened: u32,
}

#[derive(Debug)]
pub struct Disk {
    /// Where the bytes of files are kept.
    backing: PathBuf,
    nodes: BTreeMap<Inode, Node>,
    directories: Directories,
    next: Inode,
    power: bool,
    pub faults: Faults,
    /// Bytes that files may take up.
    pub capacity: u64,
    random: Random,
    operations: u64,
    recent: VecDeque<String>,
}

/// What is to be done with an operation that may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Well,
    /// It is done, and then the power fails.
    Cut,
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Disk {
    pub fn new(backing: PathBuf) -> Self {
        let root = Node { content: None, mode: libc::S_IFDIR | 0o755, owner: (0, 0), links: 1, opened: 0 };
        Self {
            backing,
            nodes: BTreeMap::from([(ROOT, root)]),
            directories: Directories::new(),
            next: ROOT + 1,
            power: true,
            faults: Faults::default(),
            capacity: u64::MAX,
            random: Random::new(0),
            operations: 0,
            recent: VecDeque::new(),
        }
    }

    // --- the power

    pub fn is_on(&self) -> bool {
        self.power
    }

    /// From now on everything fails.
    pub fn cut(&mut self) {
        self.tell("the power is cut".into());
        self.power = false;
    }

    /// Decides what a power cut has left, and switches on again; all faults are over. Says what became of the changes.
    pub fn restart(&mut self, seed: u64) -> io::Result<String> {
        self.random = Random::new(seed);
        let loss = Loss::any(&mut self.random);
        let (found, lost) = self.directories.settle(loss, &mut self.random);
        for content in self.nodes.values_mut().filter_map(|node| node.content.as_mut()) {
            content.settle(loss, &mut self.random)?;
        }
        let links = self.directories.links();
        for (inode, node) in &mut self.nodes {
            node.links = links.get(inode).copied().unwrap_or(0);
            node.opened = 0;
        }
        self.collect();
        self.faults.clear();
        self.power = true;
        self.tell(format!(
            "restarted with seed {seed}: lost {loss:?}, {found} changes of names found, {lost} lost"
        ));
        Ok(format!("{loss:?} {found} {lost}"))
    }

    /// How many operations there were, and how often one was struck.
    pub fn counts(&self) -> (u64, u64) {
        (self.operations, self.faults.struck)
    }

    /// What was done last.
    pub fn recent(&self) -> impl Iterator<Item = &String> {
        self.recent.iter()
    }

    fn tell(&mut self, line: String) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(format!("{} {line}", self.operations));
    }

    /// How long an operation that comes now is delayed.
    pub fn delay(&mut self, operation: Operation) -> Duration {
        if self.power { self.faults.strike_delay(operation) } else { Duration::ZERO }
    }

    /// Whether an operation may be done.
    fn begin(&mut self, operation: Operation, what: impl FnOnce() -> String) -> io::Result<Way> {
        if !self.power {
            return Err(error(libc::EIO));
        }
        self.operations += 1;
        let effect = self.faults.strike(operation);
        if operation != Operation::Read {
            let note = effect.map(|effect| format!(": {effect:?}")).unwrap_or_default();
            let line = format!("{operation:?} {}{note}", what());
            self.tell(line);
        }
        match effect {
            None => Ok(Way::Well),
            Some(Effect::Cut) => Ok(Way::Cut),
            Some(Effect::Fail(number)) => Err(error(number)),
        }
    }

    fn end(&mut self, way: Way) -> io::Result<()> {
        if way == Way::Well {
            return Ok(());
        }
        self.cut();
        Err(error(libc::EIO))
    }

    // --- names

    pub fn node(&self, inode: Inode) -> io::Result<&Node> {
        self.nodes.get(&inode).ok_or_else(|| error(libc::ESTALE))
    }

    /// `stat` of a name.
    pub fn lookup(&mut self, directory: Inode, name: &OsStr) -> io::Result<Inode> {
        self.powered()?;
        self.directories.find(directory, name).ok_or_else(|| error(libc::ENOENT))
    }

    /// `EIO` without power.
    pub fn powered(&self) -> io::Result<()> {
        if self.power { Ok(()) } else { Err(error(libc::EIO)) }
    }

    pub fn list(&self, directory: Inode) -> io::Result<Vec<(OsString, Inode)>> {
        self.powered()?;
        let names = self.directories.names(directory).ok_or_else(|| error(libc::ENOTDIR))?;
        Ok(names.iter().map(|(name, inode)| (name.clone(), *inode)).collect())
    }

    /// Makes a file, a directory or a socket, by the type in `mode`.
    pub fn make(
        &mut self,
        directory: Inode,
        name: &OsStr,
        mode: u32,
        owner: (u32, u32),
    ) -> io::Result<Inode> {
        if self.directories.find(directory, name).is_some() {
            return Err(error(libc::EEXIST));
        }
        let way = self.begin(Operation::Create, || format!("{directory}/{}", name.display()))?;
        let inode = self.next;
        self.next += 1;
        let content = match mode & libc::S_IFMT {
            libc::S_IFREG => {
                let mut options = File::options();
                options.read(true).write(true).create_new(true);
                Some(Content::new(options.open(self.backing_of(inode))?))
            }
            libc::S_IFDIR => {
                self.directories.add(inode);
                None
            }
            _ => None,
        };
        self.nodes.insert(inode, Node { content, mode, owner, links: 0, opened: 0 });
        self.change(vec![(directory, name.into(), Some(inode))]);
        self.end(way)?;
        Ok(inode)
    }

    pub fn link(&mut self, inode: Inode, directory: Inode, name: &OsStr) -> io::Result<()> {
        if self.directories.find(directory, name).is_some() {
            return Err(error(libc::EEXIST));
        }
        let way = self.begin(Operation::Link, || format!("{inode} {directory}/{}", name.display()))?;
        self.change(vec![(directory, name.into(), Some(inode))]);
        self.end(way)
    }

    /// `unlink` and `rmdir`.
    pub fn remove(&mut self, directory: Inode, name: &OsStr) -> io::Result<()> {
        let inode = self.lookup(directory, name)?;
        if self.directories.names(inode).is_some_and(|names| !names.is_empty()) {
            return Err(error(libc::ENOTEMPTY));
        }
        let way = self.begin(Operation::Remove, || format!("{directory}/{}", name.display()))?;
        self.change(vec![(directory, name.into(), None)]);
        self.collect();
        self.end(way)
    }

    pub fn rename(&mut self, from: (Inode, &OsStr), to: (Inode, &OsStr), replace: bool) -> io::Result<()> {
        let inode = self.lookup(from.0, from.1)?;
        if let Some(old) = self.directories.find(to.0, to.1) {
            if !replace {
                return Err(error(libc::EEXIST));
            }
            if self.directories.names(old).is_some_and(|names| !names.is_empty()) {
                return Err(error(libc::ENOTEMPTY));
            }
            if old == inode {
                return Ok(());
            }
        }
        let what = || format!("{}/{} {}/{}", from.0, from.1.display(), to.0, to.1.display());
        let way = self.begin(Operation::Rename, what)?;
        self.change(vec![(from.0, from.1.into(), None), (to.0, to.1.into(), Some(inode))]);
        self.collect();
        self.end(way)
    }

    pub fn sync_directory(&mut self, directory: Inode) -> io::Result<()> {
        let way = self.begin(Operation::SyncDirectory, || directory.to_string())?;
        self.end(way)?;
        self.directories.sync(directory);
        self.collect();
        Ok(())
    }

    fn change(&mut self, writes: Vec<Write>) {
        for (directory, name, inode) in &writes {
            if let Some(old) =
                self.directories.find(*directory, name).and_then(|old| self.nodes.get_mut(&old))
            {
                old.links = old.links.saturating_sub(1);
            }
            if let Some(new) = inode.and_then(|new| self.nodes.get_mut(&new)) {
                new.links += 1;
            }
        }
        self.directories.change(writes);
    }

    /// Removes the bytes of files that nothing leads to.
    fn collect(&mut self) {
        let reachable = self.directories.reachable();
        let gone: Vec<Inode> = self
            .nodes
            .iter()
            .filter(|(inode, node)| node.opened == 0 && !reachable.contains(inode))
            .map(|(inode, _)| *inode)
            .collect();
        for inode in gone {
            self.nodes.remove(&inode);
            let _ = std::fs::remove_file(self.backing_of(inode));
        }
        self.directories.forget_all_but(&reachable);
    }

    fn backing_of(&self, inode: Inode) -> PathBuf {
        self.backing.join(inode.to_string())
    }

    // --- content

    pub fn open(&mut self, inode: Inode) -> io::Result<()> {
        self.powered()?;
        self.nodes.get_mut(&inode).ok_or_else(|| error(libc::ESTALE))?.opened += 1;
        Ok(())
    }

    pub fn release(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            node.opened = node.opened.saturating_sub(1);
            if node.opened == 0 && node.links == 0 {
                self.collect();
            }
        }
    }

    fn content(&mut self, inode: Inode) -> io::Result<&mut Content> {
        let node = self.nodes.get_mut(&inode).ok_or_else(|| error(libc::ESTALE))?;
        node.content.as_mut().ok_or_else(|| error(libc::EISDIR))
    }

    pub fn read(&mut self, inode: Inode, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let way = self.begin(Operation::Read, String::new)?;
        self.end(way)?;
        self.content(inode)?.read(offset, length)
    }

    /// `synced`: with `O_DSYNC`.
    pub fn write(&mut self, inode: Inode, offset: u64, bytes: &[u8], synced: bool) -> io::Result<()> {
        let size = self.content(inode)?.size();
        let length = bytes.len() as u64;
        if offset + length > size {
            self.reserve(inode, offset + length - size)?;
        }
        let what = || format!("{inode} {offset}+{length}{}", if synced { " synced" } else { "" });
        match self.begin(Operation::Write, what) {
            Ok(way) => {
                let content = self.content(inode)?;
                content.write(offset, bytes)?;
                if synced && way == Way::Well {
                    content.sync_range(offset, length)?;
                }
                self.end(way)
            }
            Err(failed) => {
                if self.power && failed.raw_os_error() == Some(libc::EIO) {
                    let mut random = Random::new(self.operations);
                    self.content(inode)?.write_some(offset, bytes, &mut random)?;
                }
                Err(failed)
            }
        }
    }

    pub fn sync(&mut self, inode: Inode) -> io::Result<()> {
        if self.node(inode)?.content.is_none() {
            return self.sync_directory(inode);
        }
        match self.begin(Operation::Sync, || inode.to_string()) {
            Ok(way) => {
                self.end(way)?;
                self.content(inode)?.sync()
            }
            Err(failed) => {
                if self.power {
                    self.content(inode)?.fail_sync();
                }
                Err(failed)
            }
        }
    }

    pub fn truncate(&mut self, inode: Inode, size: u64) -> io::Result<()> {
        let way = self.begin(Operation::Truncate, || format!("{inode} {size}"))?;
        self.content(inode)?.truncate(size)?;
        self.end(way)
    }

    pub fn allocate(&mut self, inode: Inode, offset: u64, length: u64, mode: i32) -> io::Result<()> {
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zeros = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if mode & zeros == 0 {
            let size = self.content(inode)?.allocated();
            self.reserve(inode, (offset + length).saturating_sub(size))?;
        }
        let way = self.begin(Operation::Allocate, || format!("{inode} {offset}+{length} mode {mode}"))?;
        let content = self.content(inode)?;
        if mode & zeros == 0 {
            content.allocate(offset, length, keep_size)?;
        } else {
            content.punch(offset, length)?;
        }
        self.end(way)
    }

    /// Whether files may take up so much more.
    fn reserve(&mut self, inode: Inode, bytes: u64) -> io::Result<()> {
        if self.capacity == u64::MAX || self.used() + bytes <= self.capacity {
            return Ok(());
        }
        self.tell(format!("no space for {bytes} bytes of {inode}"));
        Err(error(libc::ENOSPC))
    }

    /// Bytes that files take up.
    pub fn used(&self) -> u64 {
        self.nodes.values().filter_map(|node| node.content.as_ref()).map(Content::allocated).sum()
    }

    pub fn chmod(
        &mut self,
        inode: Inode,
        mode: Option<u32>,
        owner: (Option<u32>, Option<u32>),
    ) -> io::Result<()> {
        self.powered()?;
        let node = self.nodes.get_mut(&inode).ok_or_else(|| error(libc::ESTALE))?;
        if let Some(mode) = mode {
            node.mode = node.mode & libc::S_IFMT | mode & !libc::S_IFMT;
        }
        node.owner = (owner.0.unwrap_or(node.owner.0), owner.1.unwrap_or(node.owner.1));
        Ok(())
    }
}
