//! Refusals of CloudTrail: spelled here and nowhere else (spec/trail.md §5).

use wire::Fault;

pub fn lookup_attributes(text: &str) -> Fault {
    Fault::client("InvalidLookupAttributesException", text)
}

pub fn time_range() -> Fault {
    Fault::client("InvalidTimeRangeException", "The start time is after the end time.")
}

pub fn max_results() -> Fault {
    Fault::client("InvalidMaxResultsException", "MaxResults must be between 1 and 50.")
}

pub fn next_token() -> Fault {
    let text = "The token is invalid, or was given with other parameters than those of the first call.";
    Fault::client("InvalidNextTokenException", text)
}

pub fn event_category() -> Fault {
    Fault::client("InvalidEventCategoryException", "The event category must be insight.")
}
