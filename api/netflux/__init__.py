"""Cyclic exchange of values with CODESYS and Siemens controllers."""
