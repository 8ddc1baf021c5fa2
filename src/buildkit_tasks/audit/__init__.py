"""Audits built images: secrets, users, permissions, health checks, known vulnerabilities; also writes their SBOM."""
