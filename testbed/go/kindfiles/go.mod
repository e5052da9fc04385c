module testbed/kindfiles

go 1.26.0
