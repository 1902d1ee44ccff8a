//! Makes a generation, and reads one back.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::rotation::{Authority, Generation, Seconds};
use crate::tls;

/// How long a certificate and its authority live.
const LIFE: Seconds = 90 * 86_400;
/// Clocks of those who verify may be behind.
const SKEW: Seconds = 3600;

/// # Errors
/// When there is no randomness, or a name is none.
pub(super) fn make(names: &BTreeSet<String>, now: Seconds) -> Result<Generation> {
    let until = now.saturating_add(LIFE);
    let epoch = date_time_ymd(1970, 1, 1);
    let begin = epoch + Duration::from_secs(now.saturating_sub(SKEW));
    let end = epoch + Duration::from_secs(until);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Two authorities of one name would be mistaken for each other.
    let name = format!("gaugeway {now} {:08x}", getrandom::u32()?);
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (begin, end);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let all: Vec<String> = names.iter().cloned().collect();
    let mut params = CertificateParams::new(all)?;
    let name = names.first().context("a certificate needs a name")?;
    params
        .distinguished_name
        .push(DnType::CommonName, name.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (begin, end);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok(Generation {
        authority: Authority {
            pem: authority.pem(),
            until,
        },
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        names: names.clone(),
        from: now,
    })
}

/// From a certificate with its authority after it, and its key.
///
/// # Errors
/// When they are not that.
pub(super) fn read(chain: &str, key: &str) -> Result<Generation> {
    tls::certified(chain, key)?;
    let parts = split(chain);
    let [certificate, authority] = parts.as_slice() else {
        anyhow::bail!("it is not one certificate and its authority");
    };
    let der = tls::certificates(certificate)?;
    let (_, parsed) = X509Certificate::from_der(&der[0])?;
    let names = parsed.subject_alternative_name()?;
    let names = names.context("the certificate has no names")?;
    let names = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
    let from = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or_default();
    Ok(Generation {
        authority: read_authority(authority)?,
        certificate: certificate.clone(),
        key: key.to_owned(),
        names: names.collect(),
        from: from.saturating_add(SKEW),
    })
}

/// # Errors
/// When it is no certificate.
pub(super) fn read_authority(pem: &str) -> Result<Authority> {
    let der = tls::certificates(pem)?;
    ensure!(der.len() == 1, "one certificate is needed");
    let (_, parsed) = X509Certificate::from_der(&der[0])?;
    Ok(Authority {
        pem: pem.to_owned(),
        until: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default(),
    })
}

/// Each certificate of a text by itself, as it stands there.
pub(super) fn split(pem: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let parts = pem.split_inclusive(END);
    let parts = parts.map(str::trim).filter(|part| part.ends_with(END));
    parts.map(|part| format!("{part}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_read_back() {
        let names = BTreeSet::from([
            "gaugeway-apis.gaugeway.svc".to_owned(),
            "localhost".to_owned(),
        ]);
        let mut made = make(&names, 1_800_000_000).unwrap();
        made.authority.pem = split(&made.authority.pem).concat();
        made.certificate = split(&made.certificate).concat();
        let chain = format!("{}{}", made.certificate, made.authority.pem);
        assert_eq!(read(&chain, &made.key).unwrap(), made);
        let other = make(&names, 1_800_000_000).unwrap();
        assert!(read(&chain, &other.key).is_err(), "the key is another's");
        assert_ne!(made.authority.pem, other.authority.pem);
        assert!(read(&made.certificate, &made.key).is_err(), "no authority");
    }
}
