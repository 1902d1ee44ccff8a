//! tbd
pub(super) fn page() -> anyhow::Result<String> {
    Ok(String::new())
}
