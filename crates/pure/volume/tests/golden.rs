//! Every version of the format that was ever written can be read: `testdata/v1` holds the files of a closed volume,
//! as they follow from fixed seeds. If this fails after a change, the change is of the format.

mod sim;

use std::{fs, path::PathBuf, sync::Arc};

use sim::{
    ID, SeededEntropy,
    disk::{Files, SimDisk},
    key,
};
use volume::{BLOCK, Options, Volume};

const SIZE: u64 = 300 * BLOCK as u64;

fn testdata(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata", "v1", name].iter().collect()
}

fn open(disk: &SimDisk, seed: u64) -> Volume<SimDisk> {
    let entropy = Arc::new(SeededEntropy::new(seed));
    Volume::open(disk.clone(), ID, key(), entropy, Options::default()).unwrap()
}

/// Two attaches: data, a checkpoint, a hole, a log behind the checkpoint, an end.
fn write() -> Files {
    let disk = SimDisk::new(1);
    Volume::create(&disk, ID, &key(), b"wrapped key", SIZE, 64 << 10, &SeededEntropy::new(2)).unwrap();
    let volume = open(&disk, 3);
    for index in [0, 1, 299] {
        volume.write(index * BLOCK as u64, &[index as u8 + 1; BLOCK]).unwrap();
    }
    volume.close().unwrap();
    let volume = open(&disk, 4);
    volume.write(4096, &[9; 4096]).unwrap();
    volume.discard(BLOCK as u64, BLOCK as u64).unwrap();
    volume.flush().unwrap();
    drop(volume);
    open(&disk, 5).close().unwrap();
    disk.files()
}

fn read() -> Files {
    let file = |name: &str| fs::read(testdata(name)).unwrap();
    let segments = fs::read_dir(testdata("segments")).unwrap().map(|entry| entry.unwrap().file_name());
    let segment = |name: std::ffi::OsString| {
        let name = name.into_string().unwrap();
        (name.parse().unwrap(), file(&format!("segments/{name}")))
    };
    Files {
        header: Some(file("header")),
        checkpoint: file("checkpoint"),
        segments: segments.map(segment).collect(),
    }
}

#[test]
fn a_volume_of_format_1_reads_back_and_is_written_as_it_was() {
    if std::env::var_os("STRONGROOM_WRITE_GOLDEN").is_some() {
        let files = write();
        fs::create_dir_all(testdata("segments")).unwrap();
        fs::write(testdata("header"), files.header.unwrap()).unwrap();
        fs::write(testdata("checkpoint"), files.checkpoint).unwrap();
        for (segment, bytes) in files.segments {
            fs::write(testdata(&format!("segments/{segment:010}")), bytes).unwrap();
        }
    }
    let (golden, written) = (read(), write());
    assert!(golden.header == written.header && golden.checkpoint == written.checkpoint);
    assert!(golden.segments == written.segments);

    let volume = open(&SimDisk::with(golden, 1), 6);
    let mut bytes = vec![0; SIZE as usize];
    volume.read(0, &mut bytes).unwrap();
    let expected = [vec![1; 4096], vec![9; 4096], vec![0; 298 * BLOCK], vec![44; BLOCK]].concat();
    assert!(bytes == expected);
}
