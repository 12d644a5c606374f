//! What this system has of the parts that attaching needs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Missing;

/// What the system can do, found without changing anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Support {
    /// May mount: the effective capabilities include `CAP_SYS_ADMIN`.
    pub privilege: bool,
    /// `/dev/fuse` is there.
    pub fuse: bool,
    /// `/dev/loop-control` is there. Whether a device is free shows when one is taken.
    pub loop_devices: bool,
    /// XFS is in the kernel, or is a module that mounting loads.
    pub xfs: bool,
    /// Where `mkfs.xfs` is.
    pub mkfs_xfs: Option<PathBuf>,
    /// The kernel is new enough for XFS blocks larger than a memory page (Linux 6.12). What counts in the end
    /// is whether such a file system mounts; see [`crate::Mounted::block_size`].
    pub large_blocks: bool,
}

impl Support {
    /// The first part that is missing altogether; large blocks are not needed, only better.
    #[must_use]
    pub fn missing(&self) -> Option<Missing> {
        [
            (self.privilege, Missing::Privilege),
            (self.fuse, Missing::Fuse),
            (self.loop_devices, Missing::Loop),
            (self.xfs, Missing::Xfs),
            (self.mkfs_xfs.is_some(), Missing::MkfsXfs),
        ]
        .into_iter()
        .find_map(|(present, missing)| (!present).then_some(missing))
    }
}

/// Looks at the system.
#[must_use]
pub fn kernel_support() -> Support {
    Support {
        privilege: has_sys_admin(&fs::read_to_string("/proc/self/status").unwrap_or_default()),
        fuse: Path::new("/dev/fuse").exists(),
        loop_devices: Path::new("/dev/loop-control").exists(),
        xfs: has_file_system("xfs", &fs::read_to_string("/proc/filesystems").unwrap_or_default())
            || has_module("xfs"),
        mkfs_xfs: find_program("mkfs.xfs"),
        large_blocks: nix::sys::utsname::uname()
            .is_ok_and(|names| at_least(&names.release().to_string_lossy(), (6, 12))),
    }
}

/// Finds a program of the administrator, whose directories are often not in `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

fn has_sys_admin(status: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_SYS_ADMIN & 1 == 1)
}

fn has_file_system(name: &str, filesystems: &str) -> bool {
    filesystems.lines().any(|line| line.split_whitespace().next_back() == Some(name))
}

/// Whether the running kernel has a module of this name that is not loaded yet.
fn has_module(name: &str) -> bool {
    let Ok(names) = nix::sys::utsname::uname() else { return false };
    let index = Path::new("/lib/modules").join(names.release()).join("modules.dep");
    let file = format!("/{name}.ko");
    fs::read_to_string(index).is_ok_and(|modules| {
        modules.lines().any(|line| line.split(':').next().is_some_and(|path| path.contains(&file)))
    })
}

/// Whether a kernel release (`6.18.44-…`) is `wanted` or newer.
fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_compare_as_numbers() {
        assert!(at_least("6.12.0", (6, 12)));
        assert!(at_least("6.18.44-fc-v782", (6, 12)));
        assert!(at_least("7.0-rc1", (6, 12)));
        assert!(!at_least("6.9.3", (6, 12)));
        assert!(!at_least("5.15.0-100-generic", (6, 12)));
        assert!(!at_least("unknown", (6, 12)));
    }

    #[test]
    fn the_privilege_to_mount_is_bit_21() {
        assert!(has_sys_admin("Name:\tx\nCapEff:\t000001fffeffffff\n"));
        assert!(!has_sys_admin("Name:\tx\nCapEff:\t0000000000000000\n"));
        assert!(!has_sys_admin(""));
    }

    #[test]
    fn file_systems_are_matched_whole() {
        let list = "nodev\tsysfs\n\text4\n\txfs\nnodev\tfuse\n";
        assert!(has_file_system("xfs", list));
        assert!(has_file_system("fuse", list));
        assert!(!has_file_system("ext", list));
    }

    #[test]
    fn the_first_missing_part_is_named() {
        let whole = Support {
            privilege: true,
            fuse: true,
            loop_devices: true,
            xfs: true,
            mkfs_xfs: Some("/sbin/mkfs.xfs".into()),
            large_blocks: false,
        };
        assert_eq!(whole.missing(), None);
        assert_eq!(Support { fuse: false, xfs: false, ..whole.clone() }.missing(), Some(Missing::Fuse));
        assert_eq!(Support { mkfs_xfs: None, ..whole }.missing(), Some(Missing::MkfsXfs));
    }
}
