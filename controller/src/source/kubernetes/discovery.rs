//! In which version a cluster serves a kind, if at all.

use kube::{Client, core::ApiResource};

use super::kinds::Served;

/// The best version that we read. `None` only if the server says that it serves none of them.
///
/// # Errors
/// When the server cannot be asked, or says anything else.
pub(super) async fn find(
    client: &Client,
    served: &Served,
) -> Result<Option<ApiResource>, kube::Error> {
    for version in served.versions {
        let listed = if served.group.is_empty() {
            client.list_core_api_resources(version).await
        } else {
            let group_version = format!("{}/{version}", served.group);
            client.list_api_group_resources(&group_version).await
        };
        match listed {
            Ok(list) if list.resources.iter().any(|r| r.name == served.plural) => {
                return Ok(Some(served.resource_in(version)));
            }
            Ok(_) => {}
            // By the code: a group that is not served is answered without a Status, in plain text.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
