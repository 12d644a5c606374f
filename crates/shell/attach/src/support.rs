//! What this system has of the parts that attaching needs.

use std::path::{Path, PathBuf};
use std::{fs, io};

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
    /// Serving the device cannot wait for its own writeback: see [`crate::mark_io_thread`]. It could only in a memory
    /// cgroup of version 1 that has a limit, without `CAP_SYS_RESOURCE` (docs/decisions/0214).
    pub never_waits_for_itself: bool,
    /// The FUSE module offers io_uring: it can (Linux 6.14), and root lets it. See [`offer_fuse_uring`].
    pub fuse_uring: bool,
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
            (self.never_waits_for_itself, Missing::SafeMemory),
        ]
        .into_iter()
        .find_map(|(present, missing)| (!present).then_some(missing))
    }
}

/// Looks at the system.
#[must_use]
pub fn kernel_support() -> Support {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Support {
        privilege: has_capability(&status, CAP_SYS_ADMIN),
        fuse: Path::new("/dev/fuse").exists(),
        loop_devices: Path::new("/dev/loop-control").exists(),
        xfs: has_file_system("xfs", &fs::read_to_string("/proc/filesystems").unwrap_or_default())
            || has_module("xfs"),
        mkfs_xfs: find_program("mkfs.xfs"),
        large_blocks: nix::sys::utsname::uname()
            .is_ok_and(|names| at_least(&names.release().to_string_lossy(), (6, 12))),
        never_waits_for_itself: has_capability(&status, CAP_SYS_RESOURCE) || !in_limited_cgroup(),
        fuse_uring: fs::read_to_string(ENABLE_URING).is_ok_and(|value| value.trim() == "Y"),
    }
}

/// The switch of the FUSE module, for the whole machine.
const ENABLE_URING: &str = "/sys/module/fuse/parameters/enable_uring";

/// Lets the FUSE module offer io_uring to every server of the machine, until it starts again.
///
/// # Errors
/// Without root, or if the kernel cannot.
pub fn offer_fuse_uring() -> io::Result<()> {
    fs::write(ENABLE_URING, "Y")
}

/// Finds a program of the administrator, whose directories are often not in `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether a memory cgroup of version 1 limits this process, itself or by one above it.
fn in_limited_cgroup() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (groups, mounts) = (read("/proc/self/cgroup"), read("/proc/self/mountinfo"));
    memory_cgroup(&groups, &mounts).is_some_and(|group| is_limited(&read(&format!("{group}/memory.stat"))))
}

/// Directory of the memory cgroup of version 1, if there is one: where the hierarchy is mounted (`mountinfo`), and the
/// path in it (`cgroup`, less the part that is not mounted).
fn memory_cgroup(groups: &str, mounts: &str) -> Option<String> {
    let has_memory = |list: &str| list.split(',').any(|name| name == "memory");
    let path = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has_memory(controllers).then_some(path)
    })?;
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let (mut mount, file_system) = (mount.split(' ').skip(3), file_system.split(' '));
        let (root, target) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.filter(|word| !word.is_empty());
        let wanted = file_system.next() == Some("cgroup") && has_memory(file_system.nth(1)?);
        let path = path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path);
        wanted.then(|| format!("{target}{path}"))
    })
}

/// By `memory.stat`: without a limit the number is about the largest there is.
fn is_limited(stat: &str) -> bool {
    stat.lines()
        .find_map(|line| line.strip_prefix("hierarchical_memory_limit ")?.parse::<u64>().ok())
        .is_some_and(|limit| limit < 1 << 62)
}

fn has_capability(status: &str, number: u32) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> number & 1 == 1)
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
    fn capabilities_are_bits_of_the_effective_set() {
        let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t000001fffeffffff\n";
        assert!(has_capability(status, 21));
        assert!(!has_capability(status, 24));
        assert!(!has_capability("", 21));
    }

    #[test]
    fn the_memory_cgroup_of_version_1_is_found_below_its_mount() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/a/b\n0::/\n";
        let mounts = "30 1 0:26 / /sys rw,relatime shared:2 - sysfs sysfs rw\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,cpu,memory\n";
        assert_eq!(memory_cgroup(groups, mounts).as_deref(), Some("/sys/fs/cgroup/memory/a/b"));
        let container = "35 31 0:32 /a /sys/fs/cgroup/memory ro shared:1 - cgroup cgroup rw,cpu,memory\n";
        assert_eq!(memory_cgroup(groups, container).as_deref(), Some("/sys/fs/cgroup/memory/b"));
        assert_eq!(
            memory_cgroup("0::/user.slice\n", "29 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            None
        );
        assert_eq!(memory_cgroup("", ""), None);
    }

    #[test]
    fn a_limit_is_told_from_none() {
        assert!(is_limited("cache 0\nhierarchical_memory_limit 100663296\nhierarchical_memsw_limit 1\n"));
        assert!(!is_limited("hierarchical_memory_limit 9223372036854771712\n"));
        assert!(!is_limited(""));
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
            never_waits_for_itself: true,
            fuse_uring: false,
        };
        assert_eq!(whole.missing(), None);
        assert_eq!(Support { fuse: false, xfs: false, ..whole.clone() }.missing(), Some(Missing::Fuse));
        assert_eq!(Support { mkfs_xfs: None, ..whole }.missing(), Some(Missing::MkfsXfs));
    }
}
