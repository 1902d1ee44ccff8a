//! Exactly-once totals per series, and their exposition.
