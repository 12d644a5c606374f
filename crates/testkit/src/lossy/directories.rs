//! Names: what every directory shows now, what is durable of it, and the changes in between.
//!
//! A change (a creation, a link, a removal, a rename) is atomic, and is kept by a power cut only together with those
//! before it that concern the same names or the same file. That is the least that journals of file systems promise.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
};

use super::content::Loss;
use crate::Random;

/// Number of a file or directory.
pub type Inode = u64;
pub const ROOT: Inode = 1;

type Names = BTreeMap<OsString, Inode>;

/// What a name leads to after a change; nothing: it is gone.
pub type Write = (Inode, OsString, Option<Inode>);

#[derive(Debug)]
struct Change {
    writes: Vec<Write>,
    /// Whose names are changed by it.
    inodes: BTreeSet<Inode>,
}

impl Change {
    fn depends_on(&self, other: &Self) -> bool {
        let same_name =
            |write: &Write| other.writes.iter().any(|earlier| (earlier.0, &earlier.1) == (write.0, &write.1));
        let made_there = |write: &Write| other.inodes.contains(&write.0);
        self.writes.iter().any(|write| same_name(write) || made_there(write))
            || !self.inodes.is_disjoint(&other.inodes)
    }
}

#[derive(Debug, Default)]
pub struct Directories {
    shown: BTreeMap<Inode, Names>,
    durable: BTreeMap<Inode, Names>,
    /// Not durable, oldest first.
    changes: Vec<Change>,
}

impl Directories {
    pub fn new() -> Self {
        let mut new = Self::default();
        new.add(ROOT);
        new
    }

    /// A new directory, which no name leads to yet.
    pub fn add(&mut self, directory: Inode) {
        self.shown.insert(directory, Names::new());
        self.durable.insert(directory, Names::new());
    }

    pub fn names(&self, directory: Inode) -> Option<&Names> {
        self.shown.get(&directory)
    }

    pub fn find(&self, directory: Inode, name: &OsStr) -> Option<Inode> {
        self.shown.get(&directory)?.get(name).copied()
    }

    /// Changes names as one.
    pub fn change(&mut self, writes: Vec<Write>) {
        let mut inodes = BTreeSet::new();
        for (directory, name, inode) in &writes {
            inodes.extend(self.find(*directory, name));
            inodes.extend(inode);
        }
        apply(&mut self.shown, &writes);
        self.changes.push(Change { writes, inodes });
    }

    /// Makes durable what a directory shows, with everything that it depends on.
    pub fn sync(&mut self, directory: Inode) {
        let concerns = |change: &Change| change.writes.iter().any(|write| write.0 == directory);
        let mut wanted: Vec<bool> = self.changes.iter().map(concerns).collect();
        for later in (0..self.changes.len()).rev() {
            if wanted[later] {
                for (wanted, earlier) in wanted.iter_mut().zip(&self.changes[..later]) {
                    *wanted |= self.changes[later].depends_on(earlier);
                }
            }
        }
        let mut wanted = wanted.into_iter();
        let (synced, left) =
            std::mem::take(&mut self.changes).into_iter().partition(|_| wanted.next() == Some(true));
        self.changes = left;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| apply(&mut self.durable, &change.writes));
    }

    /// The power is back: of the changes that were not durable some are found. Says how many were, and how many not.
    pub fn settle(&mut self, loss: Loss, random: &mut Random) -> (usize, usize) {
        let mut lost: Vec<Change> = Vec::new();
        let mut found = 0;
        for change in std::mem::take(&mut self.changes) {
            let possible = !lost.iter().any(|earlier| change.depends_on(earlier));
            if possible && loss.keeps(random) {
                apply(&mut self.durable, &change.writes);
                found += 1;
            } else {
                lost.push(change);
            }
        }
        self.shown.clone_from(&self.durable);
        (found, lost.len())
    }

    /// How many names lead to each inode now.
    pub fn links(&self) -> BTreeMap<Inode, u32> {
        let mut links = BTreeMap::from([(ROOT, 1)]);
        let mut next = vec![ROOT];
        while let Some(directory) = next.pop() {
            for inode in self.shown.get(&directory).into_iter().flat_map(Names::values) {
                *links.entry(*inode).or_insert(0) += 1;
                if links[inode] == 1 && self.shown.contains_key(inode) {
                    next.push(*inode);
                }
            }
        }
        links
    }

    /// Whatever a name leads to, or may lead to after a power cut.
    pub fn reachable(&self) -> BTreeSet<Inode> {
        let mut reachable = BTreeSet::from([ROOT]);
        let mut next = vec![ROOT];
        while let Some(directory) = next.pop() {
            let now = [self.shown.get(&directory), self.durable.get(&directory)];
            let names = now.into_iter().flatten().flat_map(Names::values);
            let concerns = |change: &&Change| change.writes.iter().any(|write| write.0 == directory);
            let changed = self.changes.iter().filter(concerns).flat_map(|change| &change.inodes);
            next.extend(names.chain(changed).filter(|inode| reachable.insert(**inode)));
        }
        reachable
    }

    /// Forgets directories that nothing leads to, and changes inside them.
    pub fn forget_all_but(&mut self, kept: &BTreeSet<Inode>) {
        self.shown.retain(|directory, _| kept.contains(directory));
        self.durable.retain(|directory, _| kept.contains(directory));
        self.changes.retain(|change| change.writes.iter().any(|write| kept.contains(&write.0)));
    }
}

fn apply(directories: &mut BTreeMap<Inode, Names>, writes: &[Write]) {
    for (directory, name, inode) in writes {
        let names = directories.entry(*directory).or_default();
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directories: &Directories) -> Vec<(String, Inode)> {
        let names = directories.names(ROOT).unwrap().iter();
        names.map(|(name, inode)| (name.to_str().unwrap().into(), *inode)).collect()
    }

    fn set(name: &str, inode: Inode) -> Write {
        (ROOT, name.into(), Some(inode))
    }

    fn unset(name: &str) -> Write {
        (ROOT, name.into(), None)
    }

    #[test]
    fn a_name_is_durable_when_its_directory_was_synced() {
        let mut directories = Directories::new();
        directories.change(vec![set("a", 2)]);
        directories.sync(ROOT);
        directories.change(vec![set("b", 3)]);
        directories.settle(Loss::All, &mut Random::new(1));
        assert_eq!(names(&directories), [("a".into(), 2)]);
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one() {
        for seed in 0..50 {
            let mut directories = Directories::new();
            directories.change(vec![set("header", 2)]);
            directories.sync(ROOT);
            directories.change(vec![set("header.new", 3)]);
            directories.change(vec![unset("header.new"), set("header", 3)]);
            directories.settle(Loss::Some, &mut Random::new(seed));
            let found = directories.find(ROOT, OsStr::new("header"));
            assert!(found == Some(2) || found == Some(3));
            assert!(!(found == Some(3) && directories.names(ROOT).unwrap().len() > 1));
        }
    }

    #[test]
    fn syncing_a_directory_keeps_what_its_names_came_from() {
        let mut directories = Directories::new();
        directories.add(2);
        directories.change(vec![set("sub", 2)]);
        directories.change(vec![(2, "file".into(), Some(3))]);
        directories.sync(2);
        directories.settle(Loss::All, &mut Random::new(1));
        assert_eq!(names(&directories), [("sub".into(), 2)]);
        assert_eq!(directories.find(2, OsStr::new("file")), Some(3));
        assert_eq!(directories.links()[&3], 1);
    }

    #[test]
    fn what_a_power_cut_may_bring_back_is_kept() {
        let mut directories = Directories::new();
        directories.change(vec![set("a", 2)]);
        directories.sync(ROOT);
        directories.change(vec![unset("a")]);
        assert!(directories.reachable().contains(&2));
        directories.sync(ROOT);
        assert!(!directories.reachable().contains(&2));
        directories.add(3);
        directories.change(vec![set("sub", 3)]);
        directories.change(vec![(3, "file".into(), Some(4))]);
        directories.change(vec![(3, "file".into(), None)]);
        directories.change(vec![unset("sub")]);
        assert!(directories.reachable().contains(&4));
        directories.sync(ROOT);
        directories.forget_all_but(&BTreeSet::from([ROOT]));
        assert_eq!(directories.reachable(), BTreeSet::from([ROOT]));
    }
}
