-- The accounts of this server. Instants are milliseconds since 1970.
CREATE TABLE iam_accounts (
    id      TEXT   NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL
);

-- Users, roles and managed policies: one row each, the whole record as JSON in `body`.
-- Names that differ in case only are the same name: `folded` is the name in lower case.
CREATE TABLE iam_entities (
    id      TEXT NOT NULL PRIMARY KEY, -- AIDA…, AROA…, ANPA…
    kind    TEXT NOT NULL,             -- user, role, policy
    account TEXT NOT NULL REFERENCES iam_accounts (id),
    folded  TEXT NOT NULL,
    body    TEXT NOT NULL,
    UNIQUE (kind, account, folded)
);

-- `owner`: the id of a user; NULL for a key of the account's root user.
-- `sealed`: the secret, sealed for the place iam/access-key/<account>/<owner or root>/<id>.
CREATE TABLE iam_access_keys (
    id      TEXT    NOT NULL PRIMARY KEY,
    account TEXT    NOT NULL REFERENCES iam_accounts (id),
    owner   TEXT    REFERENCES iam_entities (id),
    active  BOOLEAN NOT NULL,
    created BIGINT  NOT NULL,
    sealed  BLOB    NOT NULL
);

-- Sessions of roles, by the ids of their access keys, until they end.
-- `sealed`: everything else of a session, sealed for the place iam/session/<id>.
CREATE TABLE iam_sessions (
    id      TEXT   NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL,
    sealed  BLOB   NOT NULL
);
