//! Writes what a volume or snapshot holds, which nobody has open, into a sparse file: a plain image of its device, for
//! stock tools to look at. The image is not sealed any more.
//!
//! ```text
//! volume_image DIRECTORY VOLUME-ID KEY-FILE IMAGE      the key file: 32 bytes
//! ```

use std::{error::Error, fs, os::unix::fs::FileExt, path::Path};

use attach::VolumeReader;
use volume::{BLOCK, VolumeKey};

/// Bytes that are read at once.
const STEP: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, id, key, image] = arguments.as_slice() else {
        return Err("usage: volume_image DIRECTORY VOLUME-ID KEY-FILE IMAGE".into());
    };
    let key = VolumeKey::copy_from(&fs::read(key)?).ok_or("a volume key has 32 bytes")?;
    let reader = VolumeReader::open(Path::new(dir), id, key, None)?;
    let image = fs::File::create_new(image)?;
    image.set_len(reader.size())?;
    for range in reader.live_ranges(0) {
        let range = range?;
        let (mut offset, end) = (range.start * BLOCK as u64, range.end * BLOCK as u64);
        while offset < end {
            let mut bytes = vec![0; STEP.min(end - offset) as usize];
            reader.read(offset, &mut bytes)?;
            image.write_all_at(&bytes, offset)?;
            offset += bytes.len() as u64;
        }
    }
    Ok(())
}
