//! tbd
pub(super) fn page() -> String {
    String::new()
}
