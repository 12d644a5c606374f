-- Where the log of each volume stood when its instance last told: a volume whose log has not been there is an older
-- copy, and is refused. Instants are milliseconds since 1970.
CREATE TABLE volume_anchors (
    volume TEXT NOT NULL PRIMARY KEY, -- vol-…
    anchor BLOB NOT NULL,             -- crates/pure/volume/src/anchor.rs
    at BIGINT NOT NULL
);

-- Volumes that an operator takes as they are (`strongroom volume accept`): a row until the server has recorded it in the
-- trail and forgotten the anchor.
CREATE TABLE volume_acceptances (
    volume TEXT NOT NULL PRIMARY KEY,
    reason TEXT,
    operator TEXT NOT NULL,           -- who gave the command: the user of the operating system
    at BIGINT NOT NULL
);
