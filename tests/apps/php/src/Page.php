<?php

namespace Shop;

use Hokku\Greeting\Greeting;

final class Page
{
    public static function show(): void
    {
        header('Content-Type: text/plain');
        echo Greeting::to('PHP'), ", version one\n";
    }
}
