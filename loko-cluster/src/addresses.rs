//! Fixed addresses of services, all in the part of the service subnet that Kubernetes gives out only on request.
//!
//! The API server takes free addresses from above the first `min(max(16, size / 16), 256)` ones (Kubernetes'
//! `pkg/registry/core/service/ipallocator`), so an offset below 16 is never given away in a subnet of any size, and one
//! below 256 not in a subnet of /20 or larger.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The service subnet is too small.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the service subnet {subnet} is too small")]
#[diagnostic(
    code(loko::cluster::service_subnet),
    help("`cluster.service-subnet` must be /24 or larger; the default is 10.96.0.0/16")
)]
pub struct SubnetTooSmall {
    /// As written.
    pub subnet: Ipv4Net,
}

/// The addresses that never change while the service subnet does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceAddresses {
    /// Service `kubernetes`, the API itself: the first address.
    pub api: Ipv4Addr,
    /// Service `kube-dns`: the tenth address, which kubeadm writes into every kubelet's configuration.
    pub dns: Ipv4Addr,
    /// Traefik inside the cluster: the thirteenth.
    pub traefik: Ipv4Addr,
    /// The registry: the fourteenth.
    pub registry: Ipv4Addr,
}

/// Computes them. The subnet must be /24 or larger.
pub fn of(service_subnet: Ipv4Net) -> Result<ServiceAddresses, SubnetTooSmall> {
    if service_subnet.prefix_len() > 24 {
        return Err(SubnetTooSmall { subnet: service_subnet });
    }
    let at = |offset| Ipv4Addr::from_bits(service_subnet.network().to_bits() + offset);
    Ok(ServiceAddresses {
        api: at(1),
        dns: at(10),
        traefik: at(13),
        registry: at(14),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_offsets_into_the_subnet_whatever_its_host_bits() {
        let addresses = of("10.96.3.7/16".parse().unwrap()).unwrap();
        assert_eq!(addresses.dns, Ipv4Addr::new(10, 96, 0, 10));
        assert_eq!(addresses.traefik, Ipv4Addr::new(10, 96, 0, 13));
        assert_eq!(addresses.registry, Ipv4Addr::new(10, 96, 0, 14));
    }

    #[test]
    fn a_subnet_below_24_is_refused() {
        assert!(of("10.96.0.0/24".parse().unwrap()).is_ok());
        assert!(of("10.96.0.0/25".parse().unwrap()).is_err());
    }
}
