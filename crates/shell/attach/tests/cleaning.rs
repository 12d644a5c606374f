//! The cleaner of a volume over real files.

use attach::{BlockDevice, Options, VolumeDevice};
use std::{
    thread,
    time::{Duration, Instant},
};
use volume::VolumeKey;

const ID: &str = "vol-0123456789abcdef0";
const BLOCK: u64 = 8192;
const SIZE: u64 = 256 << 20;

#[test]
fn the_size_of_the_directory_settles_under_random_overwrites() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("volume");
    let key = || VolumeKey::copy_from(&[7; 32]).unwrap();
    VolumeDevice::create(&dir, ID, &key(), b"wrapped", SIZE).unwrap();
    let options = Options { checkpoint_after: 64 << 20, ..Options::default() };
    let device = VolumeDevice::open(&dir, ID, key(), options).unwrap();
    let blocks = SIZE / BLOCK;
    let mut content = vec![1; blocks as usize];
    for index in 0..blocks {
        device.write(index * BLOCK, &[1; BLOCK as usize]).unwrap();
    }
    let mut random = 1_u64;
    for number in 0..3 * blocks {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (index, value) = ((random >> 33) % blocks, (number % 255) as u8);
        device.write(index * BLOCK, &[value; BLOCK as usize]).unwrap();
        content[index as usize] = value;
        if number % 256 == 0 {
            device.flush().unwrap();
        }
    }
    device.flush().unwrap();
    // 1 GiB was written. The cleaner begins at 1.3 × live and two segments; the log since the checkpoint and two spare
    // files come on top.
    let most = SIZE * 13 / 10 + (2 + 2 + 3) * (64 << 20);
    let began = Instant::now();
    while device.stats().segment_bytes > most {
        assert!(began.elapsed() < Duration::from_secs(300), "{:?}", device.stats());
        thread::sleep(Duration::from_millis(50));
    }
    let stats = device.stats();
    assert!(stats.cleaned_bytes > 0 && stats.stuck_segments == 0, "{stats:?}");
    let mut block = [0; BLOCK as usize];
    for (index, value) in (0..).zip(content) {
        device.read(index * BLOCK, &mut block).unwrap();
        assert!(block.iter().all(|byte| *byte == value), "block {index}");
    }
    println!("{stats:?}");
}
