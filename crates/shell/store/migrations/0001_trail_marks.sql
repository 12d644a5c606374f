-- One row for every committed mutation: the event id of its trail record. After a crash an open record is
-- closed as done if its id stands here, and as failed if it does not.
CREATE TABLE trail_marks (
    event_id TEXT NOT NULL PRIMARY KEY
);
