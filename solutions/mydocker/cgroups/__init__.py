"""Control groups: a container gets no more of the machine than its share. See cgroups(7)."""
