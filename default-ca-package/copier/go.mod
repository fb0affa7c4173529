module copier

go 1.26.0
