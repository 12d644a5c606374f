-- Clusters, instances and snapshots: one row each, the whole record as JSON in `document` (crates/api/rds/src/records).
-- Columns beside it are those that statements look for or that must be unique.
CREATE TABLE rds_resources (
    id TEXT PRIMARY KEY,              -- cluster-…, db-…, snap-…
    kind TEXT NOT NULL,               -- cluster, instance, snapshot
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    identifier TEXT NOT NULL,         -- the name, in lower case
    cluster TEXT,                     -- of an instance or a snapshot: the cluster it belongs to
    port BIGINT UNIQUE,               -- of a cluster: where its endpoint listens
    revision BIGINT NOT NULL,         -- counts changes; bumping it is how a change takes hold of a row
    document TEXT NOT NULL,
    UNIQUE (kind, account, region, identifier)
);
CREATE INDEX rds_resources_cluster ON rds_resources (cluster);

-- What DescribeEvents tells, for 14 days.
CREATE TABLE rds_events (
    id BIGINT PRIMARY KEY,            -- in the order in which things happened
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    at BIGINT NOT NULL,               -- milliseconds
    source_type TEXT NOT NULL,        -- db-cluster, db-instance, db-cluster-snapshot
    source_id TEXT NOT NULL,
    source_arn TEXT NOT NULL,
    category TEXT NOT NULL,
    message TEXT NOT NULL
);
CREATE INDEX rds_events_at ON rds_events (account, region, at);
