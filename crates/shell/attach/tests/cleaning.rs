//! The cleaner of a volume over real files.

use attach::{BlockDevice, Options, VolumeDevice};
use volume::VolumeKey;

const ID: &str = "vol-0123456789abcdef0";
const BLOCK: u64 = 8192;
const SIZE: u64 = 128 << 20;
/// Times that the whole device is written over, at most.
const MOST_ROUNDS: u64 = 30;

#[test]
fn what_is_overwritten_at_random_is_cleaned_and_reads_back() {
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
    // The cleaner begins when four segments are dead: overwrite until it has worked.
    let mut random = 1_u64;
    for number in 0..MOST_ROUNDS * blocks {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (index, value) = ((random >> 33) % blocks, (number % 255) as u8);
        device.write(index * BLOCK, &[value; BLOCK as usize]).unwrap();
        content[index as usize] = value;
        if number % 256 == 0 {
            device.flush().unwrap();
            let stats = device.stats();
            if stats.cleaned_bytes > 8 << 20 && stats.freed_segments > 0 {
                break;
            }
        }
    }
    device.flush().unwrap();
    let stats = device.stats();
    assert!(stats.cleaned_bytes > 0 && stats.freed_segments > 0 && stats.stuck_segments == 0, "{stats:?}");
    let mut block = [0; BLOCK as usize];
    let first = content[0];
    for (index, value) in (0..).zip(content) {
        device.read(index * BLOCK, &mut block).unwrap();
        assert!(block.iter().all(|byte| *byte == value), "block {index}");
    }
    // Ends in the middle of cleaning, if need be.
    device.close().unwrap();
    let device = VolumeDevice::open(&dir, ID, key(), Options::default()).unwrap();
    device.read(0, &mut block).unwrap();
    assert!(block.iter().all(|byte| *byte == first));
}
