//! Requests to the blob service that `object_store` does not know, signed by its authoriser.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use object_store::azure::{AzureAuthorizer, AzureCredentialProvider};
use object_store::client::{HttpClient, HttpRequest, HttpRequestBody};
use serde::Deserialize;

use crate::{Address, AzureBlob, AzureBlobError, redacted};

/// The blob service of the account.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) http: HttpClient,
    pub(crate) address: Address,
    pub(crate) credentials: AzureCredentialProvider,
}

/// Whether a step changed anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was as it should be.
    Already,
    /// It is now.
    Now,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Answer {
    /// What Azure says of a refusal: its code and the first line of its sentence
    /// (<https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2>).
    pub(crate) fn said(&self) -> String {
        #[derive(Deserialize)]
        struct Error {
            #[serde(rename = "Code")]
            code: String,
            #[serde(rename = "Message", default)]
            message: String,
        }
        match quick_xml::de::from_str::<Error>(self.body.trim_start_matches('\u{feff}')) {
            Ok(Error { code, message }) => redacted(&format!("{code}: {}", message.lines().next().unwrap_or_default())),
            Err(_) => format!("HTTP {}", self.status),
        }
    }

    pub(crate) fn refused(&self, what: &'static str) -> AzureBlobError {
        AzureBlobError::Refused { what, said: self.said() }
    }
}

impl Service {
    /// Asks the service; `path`, with a query, follows the endpoint.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: String) -> Result<Answer, AzureBlobError> {
        let unreachable = |detail: String| AzureBlobError::Unreachable {
            endpoint: self.address.endpoint().to_owned(),
            detail: redacted(&detail),
        };
        let credential = self.credentials.get_credential().await.map_err(|e| AzureBlobError::Forbidden {
            what: "be known to Azure",
            said: redacted(&e.to_string()),
            remedy: "check the identity's settings (objects.identity and those beside it)",
        })?;
        let mut request: HttpRequest = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.endpoint()))
            .header(CONTENT_LENGTH, body.len())
            .header(CONTENT_TYPE, "application/xml")
            .body(HttpRequestBody::from(body))
            .map_err(|e| unreachable(e.to_string()))?;
        AzureAuthorizer::new(&credential, self.address.account()).try_authorize(&mut request)?;
        let response = self.http.execute(request).await.map_err(|e| unreachable(innermost(&e)))?;
        let status = response.status();
        let body = response.into_body().bytes().await.map_err(|e| unreachable(innermost(&e)))?;
        Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl AzureBlob {
    /// Makes the container, unless it is there.
    ///
    /// # Errors
    /// When it can't be made or this identity can't see it.
    pub async fn make_container(&self) -> Result<Made, AzureBlobError> {
        let container = self.service.address.container();
        let list = format!("/{container}?restype=container&comp=list&maxresults=1");
        let found = self.service.ask(Method::GET, &list, String::new()).await?;
        match found.status {
            StatusCode::OK => return Ok(Made::Already),
            StatusCode::NOT_FOUND => {}
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                return Err(AzureBlobError::Forbidden {
                    what: "list the container",
                    said: found.said(),
                    remedy: "give it the role Storage Blob Data Contributor on the account, or check the key or SAS",
                });
            }
            _ => return Err(found.refused("the list of the container")),
        }
        let made = self.service.ask(Method::PUT, &format!("/{container}?restype=container"), String::new()).await?;
        match made.status {
            StatusCode::CREATED => Ok(Made::Now),
            // Another setup was faster.
            StatusCode::CONFLICT if made.body.contains("ContainerAlreadyExists") => Ok(Made::Already),
            StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Err(AzureBlobError::Forbidden {
                what: "make the container",
                said: made.said(),
                remedy: "make it by hand, or give this identity the role Storage Blob Data Contributor on the account",
            }),
            _ => Err(made.refused("the new container")),
        }
    }
}

/// The innermost reason: the outer ones repeat the address.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
