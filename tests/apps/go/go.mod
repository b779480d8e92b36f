module example.com/shop

go 1.17

require example.com/greeting v1.0.0
