"""The commands of mydocker, a file for each."""
