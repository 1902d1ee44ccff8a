//! The filter's logic without its host: recording, attribution, reporting.
