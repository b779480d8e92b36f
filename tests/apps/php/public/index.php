<?php

require __DIR__ . '/../vendor/autoload.php';

if ($_SERVER['REQUEST_URI'] === '/https') {
    echo $_SERVER['HTTPS'] ?? 'off', "\n";
    return;
}
Shop\Page::show();
